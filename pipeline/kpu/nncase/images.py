"""What only the calibration images decide: whether parts of maps share the range of the whole, and what then fails."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import onnx

from pipeline.kpu.nncase.graph import Node
from pipeline.kpu.nncase.lower import lower
from pipeline.kpu.nncase.program import Refusal

_ALL_WAYS = 5
"""Parts of one map up to which all ways are tried, 2⁵; of more: none, all, and each one, two or all but one."""


def failing_parts(
    model: onnx.ModelProto, *, prepared: bool, float_output: bool, float_head: bool
) -> tuple[Refusal, ...]:
    """Return, layer by layer, what fails at run time with some calibration images and may run with others.

    Parts meet only within their map, so each way is tried on all maps at once. The arguments are those of `lower`.
    """
    slices: list[Node] = []

    def note(node: Node) -> bool:
        slices.append(node)
        return True

    def lowered(answers: Iterator[bool]) -> tuple[Refusal, ...]:
        return lower(
            model,
            prepared=prepared,
            float_output=float_output,
            float_head=float_head,
            parts_share=lambda node: next(answers) if node["part"] else True,
        ).fails_at_run_time

    lower(model, prepared=prepared, float_output=float_output, float_head=float_head, parts_share=note)
    maps = [node.inputs[0] for node in slices if node["part"]]
    if not maps:
        return ()
    places = [sum(earlier is map_ for earlier in maps[:index]) for index, map_ in enumerate(maps)]
    found: dict[str, Refusal] = {}
    for way in _ways(max(places) + 1):
        for failure in lowered(iter([way[place] for place in places])):
            found.setdefault(failure.layer, failure)
    return tuple(found.values())


def _ways(parts: int) -> Iterator[tuple[bool, ...]]:
    """Ways in which so many parts may share; none sharing is left out, as nothing is read in place then."""
    if parts <= _ALL_WAYS:
        yield from (way for way in product((False, True), repeat=parts) if any(way))
        return
    for count in (1, 2, parts - 1, parts):
        for chosen in combinations(range(parts), count):
            yield tuple(part in chosen for part in range(parts))
