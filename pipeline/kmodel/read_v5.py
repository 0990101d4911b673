"""Reading kmodel v5: the entry function's program, with the KPU functions it calls inlined.

The flat program's memory: ``MAIN`` is the entry module's data pool, then each k210 module's, 8-aligned; ``CONST`` is
the entry module's .rdata; ``INPUT`` and ``OUTPUT`` are the entry function's own pools.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import k210_text, stackvm, stackvm_steps, v5_container
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.parts import Tally
from pipeline.kmodel.stackvm import Address
from pipeline.kmodel.stackvm_isa import DIALECTS, EARLY, Dialect
from pipeline.kmodel.steps import Step, Unknown
from pipeline.kmodel.v5_container import DATA, INPUT, OUTPUT, RDATA, Container, Function, Module, RawRange

MAX_STEPS: Final = 20_000
"""More than any real program has; bounds what a damaged file can make us build."""
_PLACES: Final = {INPUT: Location.INPUT, OUTPUT: Location.OUTPUT, RDATA: Location.CONST, DATA: Location.MAIN}


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the elements from the first to the last of a tensor, both counted."""
    if 0 in shape:
        return 0
    if not strides:
        return math.prod(shape)
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def place(address: Address, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...]) -> Range:
    """Return the range of a tensor that the entry function's code addresses."""
    if address.location not in _PLACES or address.subresource:
        raise KmodelError(f"an address in memory location {address.location}.{address.subresource}")
    if any(size < 0 for size in (*shape, *strides)):
        raise KmodelError("a negative shape or stride")
    size = extent(shape, strides) * dtype.itemsize
    if size > 1 << 32:
        raise KmodelError(f"a tensor of {size} bytes")
    return _dense(Range(_PLACES[address.location], dtype, address.offset, size, shape, strides))


def _dense(r: Range) -> Range:
    """Leave out strides that say no more than the shape."""
    return replace(r, strides=()) if r.contiguous else r


@dataclass
class _Inliner:
    """Turns a container into a flat program; keeps the convolutions' tables, which are counted once."""

    container: Container
    limit: int
    """Bytes of tables that may be read in all: repeated claims on the same bytes are a damaged file."""
    tables: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    claimed: int = 0

    def rdata(self, index: int, part: RawRange, where: str) -> bytes:
        key = (index, part.start, part.size)
        if key not in self.tables:
            rdata = self.container.modules[index].rdata
            self.claimed += part.size
            if part.start + part.size > len(rdata) or self.claimed > self.limit:
                raise KmodelError(f"{where}: its tables lie outside .rdata or overlap")
            self.tables[key] = rdata[part.start : part.start + part.size]
        return self.tables[key]

    def data_base(self, index: int) -> int:
        """Return where module ``index``'s data pool starts in ``MAIN``."""
        base = 0
        if index == self.container.entry_module:
            return base
        order = [self.container.entry_module, *(i for i in self.k210_modules() if i != self.container.entry_module)]
        for before in order[: order.index(index)] if index in order else order:
            base += -(-self.container.modules[before].pools.get(DATA, 0) // 8) * 8
        return base

    def k210_modules(self) -> list[int]:
        return [index for index, module in enumerate(self.container.modules) if module.kind == "k210"]

    def function(self, module: int, number: int, inputs: Sequence[Range], outputs: Sequence[Range]) -> list[Step]:
        """Inline one KPU function, its inputs and outputs mapped to the caller's ranges."""
        where = f"k210 function {number}" if len(self.k210_modules()) < 2 else f"module {module}, function {number}"
        functions = self.container.modules[module].functions if module < len(self.container.modules) else ()
        if number >= len(functions) or self.container.modules[module].kind != "k210":
            raise KmodelError(f"the program calls function {number} of module {module}, which is no KPU function")
        function = functions[number]
        if (len(inputs), len(outputs)) != (len(function.inputs), len(function.outputs)):
            raise KmodelError(f"{where} is called with {len(inputs)} inputs and {len(outputs)} outputs")
        base = self.data_base(module)

        def resolve(raw: RawRange, shape: tuple[int, ...], strides: tuple[int, ...]) -> Range:
            size = extent(shape, strides) * raw.dtype.itemsize
            if size > 1 << 32:
                raise KmodelError(f"{where}: a tensor of {size} bytes")
            if raw.location == DATA:
                return _dense(Range(Location.MAIN, raw.dtype, base + raw.start, size, shape, strides))
            own, given = {INPUT: (function.inputs, inputs), OUTPUT: (function.outputs, outputs)}.get(
                raw.location, ((), ())
            )
            for descriptor, operand in zip(own, given, strict=False):
                if descriptor.start <= raw.start and raw.start + size <= descriptor.start + descriptor.size:
                    start = operand.start + raw.start - descriptor.start
                    return _dense(Range(operand.location, raw.dtype, start, size, shape, strides))
            raise KmodelError(f"{where}: a range at {raw.start} of location {raw.location} is no input or output of it")

        return k210_text.decode(function.text, resolve, lambda part: self.rdata(module, part, where), where)

    def program(self, dialect: Dialect) -> list[Step]:
        """Decode the entry function in one dialect."""
        entry = self.container.modules[self.container.entry_module].functions[self.container.entry_function]
        steps: list[Step] = []
        for number, statement in enumerate(stackvm.decode(entry.text, dialect, "the entry function")):
            where = f"CPU statement {number}"
            if statement.op == "CALL":
                operands = stackvm_steps.call_operands(statement, place, where)
                module = int(statement.fields[-3])
                function = int(statement.fields[0]) if len(statement.fields) == 4 else 0
                steps += self.function(module, function, *operands)
            else:
                steps.append(stackvm_steps.to_step(statement, place, where))
            if len(steps) > MAX_STEPS:
                raise KmodelError(f"a program of more than {MAX_STEPS} steps")
        return steps


def read_v5(data: bytes, *, early: bool = False) -> Kmodel:
    """Read a kmodel v5, or an early one.

    The CPU's code of an nncase version that we do not know is kept verbatim, and the KPU's functions follow it.

    Raises:
        KmodelError: truncated, or not what the format says.
    """
    container = v5_container.read_container(data, early=early)
    entry_module = container.modules[container.entry_module]
    inliner = _Inliner(container, limit=len(data))
    steps, notes = _steps(inliner, early=early)
    tally = Tally(header=container.header_bytes)
    counted: set[int] = set()
    for step in steps:
        if isinstance(step, KpuConv) and id(step.batch_norm.words) not in counted:
            counted.add(id(step.batch_norm.words))
            tally.add(step)
    tally.code = sum(module.text_bytes for module in container.modules)
    tally.constants = sum(len(module.rdata) for module in container.modules if module.kind != "k210")
    trailing = data[container.end :]
    tally.trailing = len(trailing)
    function = entry_module.functions[container.entry_function]
    k210_data = sum(-(-container.modules[i].pools.get(DATA, 0) // 8) * 8 for i in inliner.k210_modules())
    own_data = entry_module.pools.get(DATA, 0)
    return Kmodel(
        version=5,
        inputs=_signature(Location.INPUT, function.inputs, function.input_shapes),
        outputs=_signature(Location.OUTPUT, function.outputs, function.output_shapes),
        steps=tuple(steps),
        main_bytes=own_data if not k210_data else -(-own_data // 8) * 8 + k210_data,
        constants=entry_module.rdata,
        sizes=tally.total(len(data)),
        early=early,
        flags=container.flags,
        trailing=trailing,
        notes=tuple(notes),
    )


def _steps(inliner: _Inliner, *, early: bool) -> tuple[list[Step], list[str]]:
    """Try each dialect; the first that decodes the whole text is the file's."""
    container = inliner.container
    module = container.modules[container.entry_module]
    function = module.functions[container.entry_function]
    if module.kind == "k210":
        whole = [Range(Location.INPUT, r.dtype, r.start, r.size) for r in function.inputs]
        results = [Range(Location.OUTPUT, r.dtype, r.start, r.size) for r in function.outputs]
        return inliner.function(container.entry_module, container.entry_function, whole, results), []
    if module.kind != "stackvm":
        raise KmodelError(f"the entry module is of the unknown kind {module.kind!r}")
    reasons = []
    for dialect in (EARLY,) if early else DIALECTS:
        try:
            return inliner.program(dialect), []
        except KmodelError as error:
            reasons.append(f"{dialect.name}: {error.what}")
            inliner.claimed, inliner.tables = 0, {}
    return _undecoded(inliner, module, function, reasons)


def _undecoded(
    inliner: _Inliner, module: Module, function: Function, reasons: list[str]
) -> tuple[list[Step], list[str]]:
    """Keep the CPU's code verbatim and list the KPU's functions behind it, on their own inputs and outputs."""
    steps: list[Step] = [Unknown("stackvm code", 0, function.text)]
    for index in inliner.k210_modules():
        for number, callee in enumerate(inliner.container.modules[index].functions):
            whole = [Range(Location.INPUT, r.dtype, r.start, r.size) for r in callee.inputs]
            results = [Range(Location.OUTPUT, r.dtype, r.start, r.size) for r in callee.outputs]
            steps += inliner.function(index, number, whole, results)
            if len(steps) > MAX_STEPS:
                raise KmodelError(f"a program of more than {MAX_STEPS} steps")
    return steps, [f"the CPU's code is of no nncase version that we know ({reasons[0]}); it is kept verbatim"]


def _signature(
    location: Location, ranges: tuple[RawRange, ...], shapes: tuple[tuple[int, ...], ...]
) -> tuple[Range, ...]:
    return tuple(Range(location, r.dtype, r.start, r.size, shape) for r, shape in zip(ranges, shapes, strict=True))
