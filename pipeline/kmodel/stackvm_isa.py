"""nncase's stack machine: opcodes, and how each generation of nncase 1.x numbers and lays out its tensor operators.

Sources: nncase include/nncase/runtime/stackvm/opcode.h (the generation of 1.6 to 1.9, as of February 2023); Netron's
kmodel reader for 1.3 to 1.5; files of the 2021 snapshots (a 27-function YOLOX and an MNIST) for the first generation.
The letters of a layout are struct codes: B a byte (a type, a register, an enumeration), H, I, i, q, f as in ``struct``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LDC_I4: Final = 0x02
LDC_I4_0: Final = 0x03
LDC_I4_1: Final = 0x04
LDC_R4: Final = 0x05
LEA_BUFFER: Final = 0x17
STSHAPE: Final = 0x31
STPADDINGS: Final = 0x32
TENSOR: Final = 0x5E


@dataclass(frozen=True)
class Dialect:
    """One generation's tensor operators.

    Attributes:
        name: the nncase versions that write it.
        numbers: operator number → name.
        layouts: name → the layout of what follows the number.
        padding_values: values an axis that STPADDINGS pops: before, after and, later, interior.
    """

    name: str
    numbers: dict[int, str]
    layouts: dict[str, str]
    padding_values: int


_LAYOUTS: Final = {
    "BATCH_TO_SPACE": "6B",
    "BINARY": "8B2f",
    "BROADCAST": "5B",
    "CALL": "IH2B",
    "COMPARE": "8B",
    "CONV2D": "7B5H2f",
    "CONVERT": "5B",
    "COPY": "4B",
    "CUMSUM": "2Bi2B",
    "DEQUANTIZE": "5B",
    "GATHER": "7B",
    "GATHER_ND": "7B",
    "HARDMAX": "3Bi",
    "LUT1D": "4BH",
    "MATMUL": "6B2f",
    "ONEHOT": "6B",
    "PAD": "6B",
    "QUANTIZE": "5B",
    "RANDOM_NORMAL": "2B3f",
    "RANDOM_UNIFORM": "2B3f",
    "REDUCE": "7B",
    "REDUCE_ARG": "9B",
    "REDUCE_PROD": "6B",
    "REDUCE_WINDOW2D": "5B6H2f",
    "RESIZE_IMAGE": "7B",
    "ROI_ALIGN": "4Bfq",
    "SIGMOID": "4B",
    "SLICE": "7B",
    "SOFTMAX": "4Bif",
    "SPACE_TO_BATCH": "6B",
    "TERNARY": "8B",
    "TOPK": "7Bqi2B",
    "TRANSPOSE": "5B",
    "TRILU": "3Bq",
    "UNARY": "5B",
    "GRU": "4B",
    "LAYER_NORMALIZATION": "2Bif",
    "COMPRESS": "2Bf",
    "GATHER_ELEMENTS": "2Bi",
}
_OLD_LAYOUTS: Final = {**_LAYOUTS, "BINARY": "7B2f", "MATMUL": "2B2f"}
"""Without the shape register of a binary's result, and without matmul's strides."""


_NUMBERS_1_6: Final = [
    "BATCH_TO_SPACE", "BINARY", "BROADCAST", "CALL", "COMPARE", "CLAMP", "CONV2D", "CONV2D_TRANSPOSE", "CONVERT",
    "COPY", "CUMSUM", "DEQUANTIZE", "GATHER", "GATHER_ND", "HARDMAX", "LOGISTIC", "LUT1D", "MATMUL", "ONEHOT", "PAD",
    "QUANTIZE", "RANDOM_NORMAL", "RANDOM_UNIFORM", "REDUCE", "REDUCE_ARG", "REDUCE_PROD", "REDUCE_WINDOW2D",
    "RESIZE_IMAGE", "ROI_ALIGN", "SIGMOID", "SLICE", "SOFTMAX", "SPACE_TO_BATCH", "TAKE", "TERNARY", "TOPK",
    "TRANSPOSE", "TRILU", "UNARY", "GRU", "TFLITE_DETECTION_POSTPROCESS", "LAYER_NORMALIZATION", "COMPRESS",
    "GATHER_ELEMENTS",
]  # fmt: skip
_NUMBERS_1_3: Final = [
    "BATCH_TO_SPACE", "BINARY", "BROADCAST", "CALL", "CLAMP", "CONV2D", "CONV2D_TRANSPOSE", "CONVERT", "COPY",
    "CUMSUM", "DEQUANTIZE", "EQUAL", "GATHER", "GATHER_ND", "HARDMAX", "LOGISTIC", "LUT1D", "MATMUL", "ONEHOT", "PAD",
    "QUANTIZE", "RANDOM_NORMAL", "RANDOM_UNIFORM", "REDUCE", "REDUCE_ARG", "REDUCE_PROD", "REDUCE_WINDOW2D",
    "RESIZE_IMAGE", "ROI_ALIGN", "SIGMOID", "SLICE", "SOFTMAX", "SPACE_TO_BATCH", "TAKE", "TERNARY", "TOPK",
    "TRANSPOSE", "TRILU", "UNARY",
]  # fmt: skip
_NUMBERS_1_0: Final = {
    0x03: "CALL",
    0x05: "CONV2D",
    0x08: "COPY",
    0x0A: "DEQUANTIZE",
    0x12: "PAD",
    0x13: "QUANTIZE",
}
_NUMBERS_2021: Final = {
    0x01: "BINARY",
    0x03: "CALL",
    0x05: "CONV2D",
    0x07: "CONVERT",
    0x08: "COPY",
    0x09: "DEQUANTIZE",
    0x10: "PAD",
    0x11: "QUANTIZE",
    0x13: "REDUCE_WINDOW2D",
    0x14: "RESIZE_IMAGE",
    0x15: "SLICE",
    0x19: "TRANSPOSE",
}

DIALECTS: Final = (
    Dialect("1.6 to 1.9", dict(enumerate(_NUMBERS_1_6)), _LAYOUTS, 3),
    Dialect("1.3 to 1.5", dict(enumerate(_NUMBERS_1_3)), _OLD_LAYOUTS, 2),
    Dialect("1.3 to 1.5", dict(enumerate(_NUMBERS_1_3)), _LAYOUTS, 3),
    Dialect("1.0 to 1.2", _NUMBERS_1_0, _OLD_LAYOUTS, 2),
    Dialect("before 1.0", _NUMBERS_2021, _OLD_LAYOUTS, 2),
)
EARLY: Final = Dialect("before 1.0, early header", _NUMBERS_2021, {**_OLD_LAYOUTS, "CALL": "H2B"}, 2)
"""The snapshots with the 24-byte header: a module is one function, so CALL names the module alone."""
