"""Depthwise of stride 2 → depthwise of stride 1, and the stride in the 1×1 behind it, or in one that copies.

The KPU gives a depthwise result at full resolution only. A dense 1×1 can drop every other pixel; as it is pointwise, as
BatchNorm and activation are, it may as well do so behind them. Where no 1×1 of stride 1 follows, one that copies is
put in, or the depthwise kernel is made dense, with zeros elsewhere, where that takes fewer bytes.
"""

from __future__ import annotations

import copy

from torch import fx, nn

from pipeline.kpu.limits import KERNELS, MIN_SIDE
from pipeline.replacement.activations import ACTIVATIONS
from pipeline.replacement.convolution import describe, pair
from pipeline.replacement.cost import chain_cost
from pipeline.replacement.maps import value_shape
from pipeline.replacement.picks import copying
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.rules.grouped_dense import as_dense


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    if conv.groups == 1 or not conv.groups == conv.in_channels == conv.out_channels:
        return Miss("not depthwise")
    kernel, half = pair(conv.kernel_size), pair(conv.kernel_size)[0] // 2
    if pair(conv.stride) != (2, 2) or pair(conv.dilation) != (1, 1) or kernel not in [(k, k) for k in KERNELS]:
        return Miss("not a 3×3 or 1×1 of stride 2")
    padded = conv.padding_mode != "zeros" or isinstance(conv.padding, str) or pair(conv.padding) != (half, half)
    before = site.before()
    if padded or before is None or isinstance(site.module(before), nn.ZeroPad2d):
        return Miss("padded in another way than by the KPU")
    shape = value_shape(site, before)
    if shape is None:
        return Miss("the size of its input is not known here")
    if any(side % 2 for side in shape[1:]) or min(shape[1:]) < 2 * MIN_SIDE:
        return Miss(f"the KPU does not halve {shape[1]}×{shape[2]} pixels, but even sizes from {2 * MIN_SIDE} on")
    behind = _behind(site)
    after = site.after(behind[-1] if behind else site.node)
    if after is None or not _pointwise(site.module(after)):
        return Match((site.node, *behind), f"{describe(conv)}, no 1×1 of stride 1 behind it")
    acts = [site.module(node) for node in behind if not isinstance(site.module(node), nn.BatchNorm2d)]
    if all(isinstance(act, (nn.ReLU, nn.Hardtanh)) for act in acts):
        return Miss("nncase 1.9 moves its stride into the 1×1 behind it")
    return Match((site.node, *behind, after), f"{describe(conv)}, {type(acts[-1]).__name__} before the 1×1 behind it")


def _build(site: Site, match: Match) -> Built:
    conv, before = site.module(), site.before()
    assert isinstance(conv, nn.Conv2d)
    assert before is not None
    last = site.module(match.nodes[-1])
    taken = len(match.nodes) > 1 + len(_behind(site))
    followers = [copy.deepcopy(site.module(node)) for node in match.nodes[1 : -1 if taken else None]]
    whole = copy.deepcopy(conv)
    whole.stride = (1, 1)
    strided = copy.deepcopy(last) if taken else copying(conv.out_channels)
    assert isinstance(strided, nn.Conv2d)
    strided.stride = (2, 2)
    chain = nn.Sequential(whole, *[layer for layer in followers if layer is not None], strided)
    dense = nn.Sequential(as_dense(conv), *[copy.deepcopy(layer) for layer in followers if layer is not None])
    shape = value_shape(site, before)
    assert shape is not None
    if taken or _bytes(chain, shape) <= _bytes(dense, shape):
        return Built(chain)
    return Built(dense)


def _bytes(chain: nn.Sequential, shape: tuple[int, ...]) -> tuple[int, int, int]:
    cost = chain_cost(chain, shape)
    return len(cost.cpu), cost.kmodel_bytes, cost.cycles


def _behind(site: Site) -> tuple[fx.Node, ...]:
    """The BatchNorm and the activation that directly follow and that nothing else precedes."""
    found: list[fx.Node] = []
    node = site.node
    for kinds in ((nn.BatchNorm2d,), ACTIVATIONS):
        after = site.after(node)
        if after is not None and isinstance(site.module(after), kinds):
            found.append(after)
            node = after
    return tuple(found)


def _pointwise(module: nn.Module | None) -> bool:
    """Whether a layer is a dense 1×1 that may take a stride."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and pair(module.kernel_size) == (1, 1)
        and pair(module.stride) == (1, 1)
        and (module.padding == "valid" or module.padding in (0, (0, 0)))
    )


RULE = Rule(
    name="depthwise-stride",
    kind="exact",
    concerns=(nn.Conv2d,),
    matches="depthwise of stride 2 that no 1×1 of stride 1 follows, or one behind an activation that is no clamp",
    becomes="depthwise of stride 1 and a 1×1 of stride 2: the one behind it, or one that copies; or a dense "
    "convolution where that takes fewer bytes",
    why="nncase 1.9 slices the full-resolution map on the CPU; of two strides in a row it loses one, and the numbers "
    "are wrong",
    source="strided_slice_motion.cpp:32 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
