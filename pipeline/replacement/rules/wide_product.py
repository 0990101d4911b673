"""A fully connected layer over a map of more than 1024 values → a convolution to fewer of them before it, learned.

A product of up to 1024 inputs runs on the KPU, so the map is made smaller first: by a 3×3 of stride 2 where its sides
halve, else by a 1×1, to as many channels as make 1024 values. The layer is a convolution with a kernel as large as the
map, so the channels that it keeps most of are known in closed form (``low_rank.by_inputs``); of the 3×3, those of the
blocks of 2×2 pixels that its stride steps over.

Measured on the zoo's `products`, 32×8×8→64, unseen images: by the 3×3, to 64 channels, the error is 0.011 and the
accuracy 92.76 % after 92.82 %, by a 1×1 to 16 channels 0.040 and 92.06 %. Regression does not better the former.

The network's last product stays: it is the head, which runs in float.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import pixel_unshuffle

from pipeline.kpu import limits
from pipeline.replacement.convolution import blank_conv
from pipeline.replacement.low_rank import by_inputs
from pipeline.replacement.maps import pointwise_map
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.regression import as_maps
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_LAST = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Flatten)


@dataclass(frozen=True)
class _Product:
    """A fully connected layer and the map it reads.

    Attributes:
        nodes: the flattening and the layer.
        linear: the layer.
        shape: of the map, C×H×W.
    """

    nodes: tuple[fx.Node, ...]
    linear: nn.Linear
    shape: tuple[int, int, int]

    @property
    def stride(self) -> int:
        """2 where the KPU can halve the map."""
        return 2 if all(side % 2 == 0 and side >= 2 * limits.MIN_SIDE for side in self.shape[1:]) else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width behind the stride."""
        return self.shape[1] // self.stride, self.shape[2] // self.stride

    @property
    def kept(self) -> int:
        """How many channels make 1024 values at most."""
        height, width = self.size
        return limits.MAX_CHANNELS // (height * width)


def _read(site: Site) -> _Product | Miss:
    linear, flatten = site.module(), site.before()
    assert isinstance(linear, nn.Linear)
    if linear.in_features <= limits.MAX_CHANNELS:
        return Miss(f"not over {limits.MAX_CHANNELS:,} inputs")
    if _is_last(site):
        return Miss("not before another product: as the head, it stays in float")
    inputs = f"its {linear.in_features:,} inputs"
    if linear.out_features > limits.MAX_CHANNELS:
        return Miss(f"{inputs} are made into {linear.out_features:,} outputs, more than the KPU counts")
    if flatten is None or not isinstance(site.module(flatten), nn.Flatten) or len(flatten.users) > 1:
        return Miss(f"{inputs} are no map that it alone reads: they can only be fewer where they are made")
    shape = pointwise_map(site, flatten.all_input_nodes[0])
    if isinstance(shape, Miss):
        return shape
    product = _Product((flatten, site.node), linear, shape)
    return product if product.kept else Miss(f"a map of {shape[1]}×{shape[2]} pixels, too many for a product")


def _is_last(site: Site) -> bool:
    """Whether it is the head's product: behind it come nothing but softmax and the only output."""
    node: fx.Node | None = site.after()
    while node is not None and isinstance(site.module(node), _LAST):
        node = site.after(node)
    return node is not None and node.op == "output" and len(node.all_input_nodes) == 1


def _match(site: Site) -> Match | Miss:
    product = _read(site)
    if isinstance(product, Miss):
        return product
    channels, height, width = product.shape
    left = f"{product.kept}×{product.size[0]}×{product.size[1]}"
    return Match(product.nodes, f"{channels}×{height}×{width}→{product.linear.out_features}, of which {left} are left")


def _build(site: Site, match: Match) -> Built:
    product = _read(site)
    assert isinstance(product, _Product)
    channels, kept = product.shape[0], product.kept
    if product.stride == 2:
        fewer = blank_conv(channels, kept, bias=False, stride=2)
    else:
        fewer = blank_pointwise(channels, kept)
        fewer.bias = None  # the product has one
    height, width = product.size
    linear = nn.Linear(kept * height * width, product.linear.out_features, device="meta").to_empty(device="cpu")
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    chain = nn.Sequential()
    chain.add_module("fewer", fewer)
    chain.add_module("flatten", nn.Flatten())
    chain.add_module("product", linear)
    return Built(chain)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    product = _read(site)
    fewer, _, linear = chain
    assert isinstance(product, _Product)
    assert isinstance(fewer, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    kernel = product.linear.weight.detach().reshape(-1, *product.shape)
    blocks, kernel = pixel_unshuffle(inputs, product.stride), pixel_unshuffle(kernel, product.stride)
    whole = nn.Conv2d(blocks.shape[1], len(kernel), product.size, device="meta")
    whole.weight = nn.Parameter(kernel)
    mix = blank_pointwise(blocks.shape[1], product.kept)
    mix.bias = None
    spatial = nn.Conv2d(product.kept, len(kernel), product.size, device="meta").to_empty(device="cpu")
    by_inputs(whole, mix, spatial, blocks, as_maps(outputs))
    assert spatial.bias is not None
    with torch.no_grad():
        # a block's pixels are the centre of the 3×3 and what is right of it and below
        begin = fewer.weight.shape[-1] - product.stride
        taps = mix.weight.reshape(product.kept, product.shape[0], product.stride, product.stride)
        fewer.weight[:, :, begin:, begin:] = taps
        linear.weight.copy_(spatial.weight.flatten(1))
        linear.bias.copy_(spatial.bias)


RULE = Rule(
    name="wide-product",
    kind="learned",
    concerns=(nn.Linear,),
    matches=f"a fully connected layer over a map of more than {limits.MAX_CHANNELS:,} values, but the network's last",
    becomes="a 3×3 of stride 2, or a 1×1, to as many channels as a product of the KPU reads, and the product of these",
    why=f"the KPU counts channels in 10 bits: nncase 1.9 runs products of more than {limits.MAX_CHANNELS:,} inputs in "
    "float32 on the CPU",
    source="kpu_utils.h:21 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
