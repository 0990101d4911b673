"""Depthwise 4×4 … 11×11 → a stack of depthwise 3×3, learned: as light as the layer itself.

The stack (``depthwise_stack``) is linear and starts from factors of each channel's kernel. It has fewer free weights
than the kernel, so it follows smooth kernels only; ``large_depthwise_mixed`` follows others, for more bytes.

Measured on the trained zoo's `mobile-large`, error on unseen images after 300 steps of regression from random weights;
from factors before regression; after it: 5×5 s2, 16 channels: 0.280; 0.088; 0.076. 7×7, 32: 0.401; 0.280; 0.223.
9×9, 40: 0.484; 0.410; 0.324. 5×5 s2, 64: 0.491; 0.175; 0.151. With plain distances between kernels, not those of their
outputs, and the last layer not solved for the outputs, the starts were 0.132, 0.443, 0.601 and 0.216.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.replacement.depthwise_stack import LARGEST, build_depthwise, initialise_depthwise, match_depthwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_BRANCHES = 1


def _match(site: Site) -> Match | Miss:
    return match_depthwise(site, _BRANCHES)


def _build(site: Site, match: Match) -> Built:
    return build_depthwise(site, _BRANCHES)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    initialise_depthwise(site, chain, inputs, outputs, _BRANCHES, seed)


RULE = Rule(
    name="large-depthwise",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"depthwise kernels up to {LARGEST}×{LARGEST}, dilated or not, that keep their map's size or halve it",
    becomes="a stack of depthwise 3×3 that reaches as far; at stride 2 a 1×1 behind the first has the stride",
    why="nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU",
    source="kpu_utils.h:36 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
