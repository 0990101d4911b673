"""Making nncase's output reproducible.

nncase 1.x leaves bits 60 to 63 of each batch-norm and activation word uninitialised, so that compiling the same
network twice gives files that differ there and nowhere else (measured with nncase 1.9.0.20230322 on networks with
residuals, concatenation, resize, softmax, CPU convolutions and several outputs).
"""

from __future__ import annotations

from pipeline.errors import KmodelError
from pipeline.kmodel import k210_text
from pipeline.kmodel.identify import identify
from pipeline.kmodel.v5_container import RawRange, read_container

_TOP_BYTE_OF_WORD = 7
_NAMED_BITS_OF_TOP_BYTE = 0x0F


def canonical_v5(data: bytes) -> bytes:
    """Return a v5 file with the meaningless bits of its convolutions' tables cleared.

    The file means the same; two compilations of one network become equal.

    Raises:
        KmodelError: not a v5 file, or a damaged one.
    """
    identity = identify(data)
    if identity.version != 5:
        raise KmodelError(f"{identity.name} is no kmodel v5")
    container = read_container(data, early=identity.early)
    out = bytearray(data)
    for number, module in enumerate(container.modules):
        if module.kind != "k210":
            continue
        for function in module.functions:
            for table, words in k210_text.tables(function.text, f"module {number}"):
                _clear(out, module.rdata_position, len(module.rdata), table, words)
    return bytes(out)


def _clear(out: bytearray, base: int, size: int, table: RawRange, words: int) -> None:
    if table.start + 8 * words > size:
        raise KmodelError("a convolution's tables end behind .rdata")
    start = base + table.start
    for word in range(words):
        out[start + 8 * word + _TOP_BYTE_OF_WORD] &= _NAMED_BITS_OF_TOP_BYTE
