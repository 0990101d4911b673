"""Rewrites, and passes of them: what applies is applied until nothing does, from the first rewrite on each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.kpu.nncase.graph import Graph, Node, merge_equal, prune

Apply = Callable[[Graph, Node], bool]


@dataclass(frozen=True)
class Rewrite:
    """One transform of nncase.

    Attributes:
        starts_at: operators it may start at.
        apply: changes the graph around a node and says whether it did.
    """

    starts_at: frozenset[str]
    apply: Apply


def rewrite(*starts_at: str) -> Callable[[Apply], Rewrite]:
    """Make a rewrite of a function."""
    return lambda apply: Rewrite(frozenset(starts_at), apply)


def run_pass(graph: Graph, rewrites: Sequence[Rewrite]) -> None:
    """Apply rewrites until none applies (``transform_pass::run_core``)."""
    changed = True
    while changed:
        changed = False
        nodes = graph.nodes()
        present = {node.op for node in nodes}
        for each in rewrites:
            if present.isdisjoint(each.starts_at):
                continue
            for node in nodes:
                if node.op in each.starts_at and _is_live(node) and each.apply(graph, node):
                    changed = True
            if changed:
                prune(graph)
                break
    merge_equal(graph)


def _is_live(node: Node) -> bool:
    return node.op == "output" or any(value.users for value in node.outputs)
