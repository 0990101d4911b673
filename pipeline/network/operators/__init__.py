"""The operators, a family a file, each in both directions: ONNX node → module (``LIFT``), module → nodes (``WRITE``).

To carry one more operator, add its two functions to the file of its family and its names to the two tables there.
"""

from __future__ import annotations

from torch import nn

from pipeline.network.operators import activation, arithmetic, convolution, dense, image, pooling, shape
from pipeline.network.operators.form import Lifter, Writer

_FAMILIES = (convolution, dense, activation, pooling, arithmetic, shape, image)

LIFT: dict[str, Lifter] = {op: lifter for family in _FAMILIES for op, lifter in family.LIFT.items()}
"""By ONNX operator."""

WRITE: dict[type[nn.Module], Writer] = {kind: writer for family in _FAMILIES for kind, writer in family.WRITE.items()}
"""By the exact type of the module."""
