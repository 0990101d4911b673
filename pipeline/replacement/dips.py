"""Activations that fall to a dip and rise again towards −∞: where the dip is, and whether a clamp cuts it off."""

from __future__ import annotations

from torch import fx, nn

from pipeline.network.modules import Add, Concat
from pipeline.replacement.rule import Site

DIPS: dict[type[nn.Module], float] = {
    nn.SiLU: -1.2784645,
    nn.Hardswish: -1.5,
    nn.Mish: -1.1924312,
}
"""The input of each function's least value: where its derivative is 0. GELU's is not here: nncase 1.9 has no Erf."""
_NEAR = 1e-3
"""The functions are flat at their dips: they differ by less than a millionth of it so near."""


def clamped_at_dip(site: Site) -> bool:
    """Return whether the site's activation reads a clamp that lets through nothing below its dip."""
    before = site.before()
    clamp = site.module(before) if before is not None else None
    activation = site.module()
    dip = DIPS.get(type(activation)) if activation is not None else None
    return dip is not None and isinstance(clamp, nn.Hardtanh) and clamp.min_val >= dip - _NEAR


def in_branch(site: Site) -> bool:
    """Return whether the site's layer is in one of the branches that an Add or Concat joins, not before all of them."""
    for node in site.network.graph.nodes:
        if isinstance(site.module(node), (Add, Concat)) and len(node.all_input_nodes) > 1:
            holding = [site.node in _up_to(read) for read in node.all_input_nodes]
            if any(holding) and not all(holding):
                return True
    return False


def _up_to(node: fx.Node) -> set[fx.Node]:
    """Return a node and all that it is made of."""
    found, pending = set(), [node]
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            pending.extend(at.all_input_nodes)
    return found
