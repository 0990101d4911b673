"""The container of kmodel v5: modules, memory pools, functions and sections.

Sources: nncase v1.9.0 include/nncase/runtime/model.h:23-110 and src/codegen/module_builder.cpp:322-460. The snapshots
of July and August 2021 ("early v5") have a 24-byte header, and one function a module, described in the module's
header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel.cursor import Cursor
from pipeline.kmodel.memory import DType

HEADER_BYTES: Final = 32
EARLY_HEADER_BYTES: Final = 24
MODULE_HEADER_BYTES: Final = 48
FUNCTION_HEADER_BYTES: Final = 32
RANGE_BYTES: Final = 12
MAX_RANK: Final = 16
INPUT, OUTPUT, RDATA, DATA, SHARED, KPU = 0, 1, 2, 3, 4, 64
"""Memory location codes."""
MERGED: Final = 1
"""Section flag: the body lies in .rdata."""


@dataclass(frozen=True)
class RawRange:
    """A memory_range as stored."""

    location: int
    dtype: DType
    start: int
    size: int


@dataclass(frozen=True)
class Function:
    """A function's signature and text."""

    inputs: tuple[RawRange, ...]
    outputs: tuple[RawRange, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    text: bytes


@dataclass(frozen=True)
class Module:
    """A module: "stackvm" (the CPU's code) or "k210" (the KPU's)."""

    kind: str
    pools: dict[int, int]
    """Memory pool sizes in bytes by location code."""
    functions: tuple[Function, ...]
    rdata: bytes
    rdata_position: int
    text_bytes: int


@dataclass(frozen=True)
class Container:
    """A whole v5 file. ``header_bytes`` counts all headers, descriptors and pools."""

    flags: int
    modules: tuple[Module, ...]
    entry_module: int
    entry_function: int
    header_bytes: int
    end: int


def raw_range(c: Cursor) -> RawRange:
    """Read a memory_range of 12 bytes."""
    location, dtype, _shared, start, size = c.unpack("2BH2I")
    dtypes = tuple(DType)
    if dtype >= len(dtypes):
        raise KmodelError(f"{c.what} has a memory range of an unknown type ({dtype})")
    return RawRange(location, dtypes[dtype], start, size)


def _shape(c: Cursor) -> tuple[int, ...]:
    rank = c.u32()
    if rank > MAX_RANK:
        raise KmodelError(f"{c.what} has a shape of rank {rank}")
    return c.unpack(f"{rank}I")


def read_container(data: bytes, *, early: bool) -> Container:
    """Read the container of a v5 file.

    Raises:
        KmodelError: truncated, or not what the format says.
    """
    head = Cursor(data, 8, len(data), "the header")
    if early:
        flags, _alignment, modules, entry_module = head.unpack("4I")
        entry_function = 0
    else:
        header_size, flags, _alignment, modules, entry_module, entry_function = head.unpack("6I")
        head.take(header_size - HEADER_BYTES)
    if modules * MODULE_HEADER_BYTES > head.left + MODULE_HEADER_BYTES:
        raise KmodelError(f"the header claims {modules} modules, which do not fit the file")
    if entry_module >= modules:
        raise KmodelError(f"the entry module is {entry_module} of {modules}")
    header_bytes = head.position
    read = []
    for index in range(modules):
        module, used = (_early_module if early else _module)(head, index)
        read.append(module)
        header_bytes += used
    if entry_function >= len(read[entry_module].functions):
        raise KmodelError(f"the entry function is {entry_function} of {len(read[entry_module].functions)}")
    return Container(flags, tuple(read), entry_module, entry_function, header_bytes, head.position)


def _module_kind(c: Cursor) -> str:
    return c.take(16).split(b"\0")[0].decode("ascii", "replace")


def _module(head: Cursor, index: int) -> tuple[Module, int]:
    """Read a module and return it with the bytes its headers take."""
    what = f"module {index}"
    start = head.position
    peek = Cursor(head.data, start, head.end, what)
    kind = _module_kind(peek)
    _version, header_size, size, pools, shared, sections, functions, _reserved = peek.unpack("8I")
    c = head.part(size, f"{what} ({kind})")
    c.take(header_size)
    if header_size < MODULE_HEADER_BYTES or 8 * (pools + shared) + 32 * (sections + functions) > c.left:
        raise KmodelError(f"{c.what} claims more pools, functions or sections than it holds")
    pool_sizes = _pools(c, pools)
    c.take(8 * shared)
    descriptors = [_function(c, number) for number in range(functions)]
    headers = c.position - start + 32 * sections
    bodies = _sections(c, sections)
    text = bodies.get(".text", (b"", 0))[0]
    rdata, rdata_position = bodies.get(".rdata", (b"", 0))
    parts = tuple(Function(*signature, _text(text, entry, length, c.what)) for signature, entry, length in descriptors)
    return Module(kind, pool_sizes, parts, rdata, rdata_position, len(text)), headers


_Signature = tuple[tuple[RawRange, ...], tuple[RawRange, ...], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]


def _function(c: Cursor, number: int) -> tuple[_Signature, int, int]:
    start = c.position
    header_size, size, _in, _out, inputs, outputs, entry, length = c.unpack("8I")
    c.position = start
    body = c.part(size, f"{c.what}, function {number}")
    body.take(header_size)
    if header_size < FUNCTION_HEADER_BYTES or RANGE_BYTES * (inputs + outputs) > body.left:
        raise KmodelError(f"{body.what} claims more inputs and outputs than it holds")
    return _signature(body, inputs, outputs), entry, length


def _signature(c: Cursor, inputs: int, outputs: int) -> _Signature:
    input_ranges = tuple(raw_range(c) for _ in range(inputs))
    input_shapes = tuple(_shape(c) for _ in range(inputs))
    output_ranges = tuple(raw_range(c) for _ in range(outputs))
    return input_ranges, output_ranges, input_shapes, tuple(_shape(c) for _ in range(outputs))


def _pools(c: Cursor, count: int) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for _ in range(count):
        location, _pad, size = c.unpack("B3sI")
        sizes[location] = sizes.get(location, 0) + size
    return sizes


def _sections(c: Cursor, count: int) -> dict[str, tuple[bytes, int]]:
    """Read sections: name → (body, its position in the file)."""
    bodies: dict[str, tuple[bytes, int]] = {}
    merged: list[tuple[str, int, int]] = []
    for _ in range(count):
        name = _module_kind(c)
        flags, body_start, body_size, _reserved = c.unpack("4I")
        if flags & MERGED:
            merged.append((name, body_start, body_size))
            continue
        c.take(body_start)
        position = c.position
        bodies[name] = (c.take(body_size), position)
    rdata, position = bodies.get(".rdata", (b"", 0))
    for name, start, size in merged:
        if start + size > len(rdata):
            raise KmodelError(f"{c.what}: the section {name} lies behind .rdata")
        bodies[name] = (rdata[start : start + size], position + start)
    return bodies


def _text(text: bytes, entry: int, length: int, what: str) -> bytes:
    if entry + length > len(text):
        raise KmodelError(f"{what}: a function's code ends behind .text")
    return text[entry : entry + length]


def _early_module(head: Cursor, index: int) -> tuple[Module, int]:
    """Read a module of the early format: one function; its size does not count the 40-byte header."""
    start = head.position
    kind = _module_kind(head)
    size, pools, inputs, outputs, sections, _reserved = head.unpack("6I")
    c = head.part(size, f"module {index} ({kind})")
    if 8 * pools + RANGE_BYTES * (inputs + outputs) + 32 * sections > c.left:
        raise KmodelError(f"{c.what} claims more pools, inputs or sections than it holds")
    pool_sizes = _pools(c, pools)
    signature = _signature(c, inputs, outputs)
    headers = c.position - start + 32 * sections
    bodies = _sections(c, sections)
    text = bodies.get(".text", (b"", 0))[0]
    rdata, position = bodies.get(".rdata", (b"", 0))
    return Module(kind, pool_sizes, (Function(*signature, text),), rdata, position, len(text)), headers
