"""Feeds mutated ONNX files to a function and prints what happened as JSON, crashes of the process included.

Usage: python fuzz_onnx.py COUNT SEED [--target MODULE:FUNCTION] [--limit-mib N] [--seconds S] [FILE...]
       python fuzz_onnx.py --write NUMBER SEED -o DAMAGED.onnx [FILE...]      one of them again

The function takes a path; it must return, or raise a ``KpufitError`` that names the file and a remedy. ONNX's checker,
shape inference and converter are C++, which a damaged file can end by a signal: the files are read in a child process
under a limit on memory and on time, and when the child dies, the next one goes on after the file that killed it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from onnx_mutations import mutate
from onnx_seeds import SEEDS

from pipeline.errors import KpufitError
from pipeline.kpu.check import check_network
from pipeline.network.read import load_onnx
from pipeline.network.user_file import read_user_file

TARGET = "fuzz_onnx:load"
LIMIT_MIB = 3072
SECONDS = 10.0


def load(path: Path) -> None:
    """Read a file for its weights, for its shapes alone, and as a compiler is given it."""
    load_onnx(path)
    load_onnx(path, weights=False)
    load_onnx(path, weights=False, normal=False)


def check(path: Path) -> None:
    """Check a file as `kpufit check` does, as kpufit prepares it and as nncase alone is given it."""
    for raw in (False, True):
        check_network(read_user_file(path, normal=not raw), raw=raw, where=str(path))


def damaged(number: int, seed: int, originals: list[bytes]) -> bytes:
    """Return file ``number`` of the run with ``seed``."""
    rng = random.Random(f"{seed}/{number}")
    return mutate(rng.choice(originals), rng)


def fuzz(
    count: int,
    seed: int,
    *,
    target: str = TARGET,
    files: tuple[Path, ...] = (),
    limit_mib: int = LIMIT_MIB,
    seconds: float = SECONDS,
) -> dict[str, object]:
    """Return how many files were read and refused, and what went wrong, with the numbers of the files."""
    results: Counter[str] = Counter()
    unexpected: list[str] = []
    slowest, largest, done = (0.0, 0), (0, 0), 0
    while done < count:
        command = [sys.executable, __file__, "--child", str(done), str(count), str(seed), target]
        command += [str(limit_mib), str(seconds), *map(str, files)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in child.stdout.splitlines():
            case = json.loads(line)
            results[case["result"]] += 1
            slowest = max(slowest, (case["seconds"], done))
            if case["peak_mib"] > largest[0]:
                largest = case["peak_mib"], done
            if case["result"] == "unexpected":
                unexpected.append(f"{done}: {case['error']}")
            done += 1
        if child.returncode:
            ended = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit {child.returncode}"
            last = " | ".join(line.strip() for line in child.stderr.strip().splitlines()[-5:])
            results["crashed"] += 1
            unexpected.append(f"{done}: the process ended by {ended} {last}")
            done += 1
    return {
        "results": dict(results),
        "unexpected": unexpected,
        "slowest_s": slowest[0],
        "slowest": slowest[1],
        "peak_mib": largest[0],
        "largest": largest[1],
    }


def read_on(first: int, count: int, seed: int, target: str, limit_mib: int, seconds: float, files: list[str]) -> None:
    """Read files ``first`` to ``count`` in this process; one line a file says how that ended."""
    module, name = target.split(":")
    function = getattr(importlib.import_module(module), name)
    originals = _originals(files)
    resource.setrlimit(resource.RLIMIT_AS, (limit_mib << 20, limit_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="kpufit-fuzz-") as folder:
        path = Path(folder) / "damaged.onnx"
        for number in range(first, count):
            path.write_bytes(damaged(number, seed, originals))
            start = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal is not handled: it ends also what C++ hangs in
            result, error = _call(function, path)
            signal.setitimer(signal.ITIMER_REAL, 0)
            case = {"result": result, "error": error, "seconds": time.perf_counter() - start, "peak_mib": _peak_mib()}
            print(json.dumps(case), flush=True)


def _call(function: Callable[[Path], object], path: Path) -> tuple[str, str]:
    try:
        function(path)
    except KpufitError as error:
        if str(path) not in error.where or not error.remedy or "\n" in error.what:
            return "unexpected", f"says too little: where {error.where!r}, what {error.what!r}, remedy {error.remedy!r}"
        return "refused", ""
    except Exception as error:
        return "unexpected", f"{type(error).__name__}: {error}"[:300] + _line(error)
    return "read", ""


def _line(error: Exception) -> str:
    trace = error.__traceback__
    ours = ""
    while trace is not None:
        if "/pipeline/" in trace.tb_frame.f_code.co_filename:
            ours = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return ours


def _peak_mib() -> int:
    """The most memory this process had at once; unlike ``ru_maxrss`` not that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


def _originals(files: list[str]) -> list[bytes]:
    return [make().SerializeToString() for make in SEEDS.values()] + [Path(file).read_bytes() for file in files]


def main() -> None:
    if sys.argv[1] == "--child":
        first, count, seed, target, limit_mib, seconds, *files = sys.argv[2:]
        read_on(int(first), int(count), int(seed), target, int(limit_mib), float(seconds), files)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--target", default=TARGET)
    parser.add_argument("--limit-mib", type=int, default=LIMIT_MIB)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("-o", type=Path)
    given = parser.parse_args()
    if given.write:
        given.o.write_bytes(damaged(given.count, given.seed, _originals(list(map(str, given.files)))))
        return
    report = fuzz(
        given.count,
        given.seed,
        target=given.target,
        files=tuple(given.files),
        limit_mib=given.limit_mib,
        seconds=given.seconds,
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
