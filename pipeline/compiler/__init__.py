"""nncase: the child process (its worker runs on Python 3.10), its log and its errors."""

from pipeline.compiler.compile import Compiled, compile_network
from pipeline.compiler.environment import find_nncase, nncase_version
from pipeline.compiler.simulate import nncase_simulate

__all__ = ["Compiled", "compile_network", "find_nncase", "nncase_simulate", "nncase_version"]
