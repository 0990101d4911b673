"""BatchNorm, or Mul and Add by constants, that no convolution comes before → the input, the next conv, or a 1×1.

``scale·x + shift`` a channel, in this order:

- on the image, ``x = (p − m)/s``: ``scale·x + shift = (p − m')/s'`` with ``s' = s/scale`` and
  ``m' = m − s·shift/scale``, which is another contract and no layer at all; ``normalisation`` then makes it uniform.
- before a convolution that reads no padding (or where all shifts are 0): in its weights and bias.
- else a 1×1 of its own: depthwise, or dense where that costs less. Folding into a padded convolution would be free, but
  wrong at the border, where the padding is 0 and not ``shift``.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from pipeline.network.contract import InputContract
from pipeline.replacement.activations import ACTIVATIONS
from pipeline.replacement.affine import AFFINE, Run, fold_before, map_before, run_at
from pipeline.replacement.convolution import pair
from pipeline.replacement.cost import chain_cost
from pipeline.replacement.maps import pointwise_map
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def _match(site: Site) -> Match | Miss:
    run = run_at(site)
    if isinstance(run, Miss):
        return run
    before = map_before(site.node)
    if before is None:
        return Miss("it reads several values")
    if isinstance(site.module(before), nn.Conv2d) and len(before.users) == 1:
        return Miss("behind a convolution, which takes it")
    if site.node.all_input_nodes[0] is not before:
        return Miss("its constant comes first")
    found = run.found(site)
    if _new_contract(site, run) is not None:
        return Match(run.nodes, f"{found} on the image")
    taker = _taker(site, run)
    if taker is not None:
        return Match((*run.nodes, taker), f"{found} before {taker.target}")
    if run.scale.numel() == 1 and _has_table(site, before):
        return Miss("one factor and one summand for all channels: nncase 1.9 makes them part of the KPU's activation")
    shape = pointwise_map(site, run.nodes[-1])
    if isinstance(shape, Miss):
        return shape
    size = f"{shape[0]}×{shape[1]}×{shape[2]}"
    return Match(run.nodes, f"{found} behind {before.target}, {size}")


def _build(site: Site, match: Match) -> Built:
    run = run_at(site)
    assert isinstance(run, Run)
    contract = _new_contract(site, run)
    if contract is not None:
        return Built(nn.Sequential(), contract)
    if len(match.nodes) > len(run.nodes):
        conv = site.module(match.nodes[-1])
        assert isinstance(conv, nn.Conv2d)
        return Built(nn.Sequential(fold_before(conv, *run.on(conv.in_channels))))
    shape = pointwise_map(site, run.nodes[-1])
    assert not isinstance(shape, Miss)
    channels, height, width = shape
    scale, shift = run.on(channels)
    conv = blank_pointwise(channels, channels, groups=_groups(channels, height, width, _followers(site, run)))
    assert conv.bias is not None
    with torch.no_grad():
        factors = torch.diag(scale) if conv.groups == 1 else scale[:, None]
        conv.weight.copy_(factors[..., None, None])
        conv.bias.copy_(shift)
    return Built(nn.Sequential(conv))


def _new_contract(site: Site, run: Run) -> InputContract | None:
    """The contract that does what the run does to the image; None where it is not on the image alone."""
    before, old = map_before(site.node), site.contract
    if before is None or before.op != "placeholder" or len(before.users) != 1 or old is None:
        return None
    scale, shift = run.on(old.image[0])
    if not bool((scale > 0).all()):
        return None
    mean, std = torch.tensor(old.mean, dtype=torch.float64), torch.tensor(old.std, dtype=torch.float64)
    means, stds = mean - std * shift / scale, std / scale
    return InputContract(old.image, tuple(means.tolist()), tuple(stds.tolist()))


def _taker(site: Site, run: Run) -> fx.Node | None:
    """The convolution behind the run, if it can do the run's work exactly."""
    after = site.after(run.nodes[-1])
    conv = None if after is None else site.module(after)
    if not isinstance(conv, nn.Conv2d):
        return None
    padded = conv.padding != "valid" if isinstance(conv.padding, str) else any(pair(conv.padding))
    return after if not padded or not bool(run.shift.any()) else None


def _has_table(site: Site, node: fx.Node | None) -> bool:
    """Whether a convolution gives the value, over activations: its activation table can hold one more function."""
    while node is not None and isinstance(site.module(node), ACTIVATIONS):
        node = site.before(node)
    return node is not None and isinstance(site.module(node), nn.Conv2d)


def _followers(site: Site, run: Run) -> tuple[nn.Module, ...]:
    """The activation and the pool behind the run, which the KPU may fuse with its convolution."""
    found: list[nn.Module] = []
    node = run.nodes[-1]
    for kinds in (ACTIVATIONS, _POOLS):
        after = site.after(node)
        module = None if after is None else site.module(after)
        if after is not None and isinstance(module, kinds):
            found.append(copy.deepcopy(module))
            node = after
    return tuple(found)


def _groups(channels: int, height: int, width: int, followers: tuple[nn.Module, ...]) -> int:
    """``channels`` for a depthwise 1×1, 1 for a dense one where that leaves less to the CPU (a pool, fused).

    Else depthwise never costs more: it has a weight where the dense one has as many as there are channels.
    """
    costs = {}
    for groups in (channels, 1):
        chain = nn.Sequential(blank_pointwise(channels, channels, groups=groups), *followers)
        cost = chain_cost(chain, (channels, height, width))
        if not cost.cpu:
            return groups
        costs[groups] = (len(cost.cpu), cost.cycles, cost.kmodel_bytes)
    return min(costs, key=costs.__getitem__)


RULE = Rule(
    name="affine-alone",
    kind="exact",
    concerns=AFFINE,
    matches="BatchNorm, and products and sums with one constant a channel, that are not directly behind a convolution",
    becomes="the image's mean and std; else in the weights of a convolution without padding behind it; else a 1×1, "
    "depthwise or dense, whichever costs less",
    why="nncase 1.9 makes four float32 operators on the CPU of a BatchNorm, and one of each product and sum",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
