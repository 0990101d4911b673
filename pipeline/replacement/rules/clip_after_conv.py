"""conv (→ BatchNorm) → Relu becomes conv (→ BatchNorm) → Clip(0, none): max(0, x) either way."""

from __future__ import annotations

import math

from torch import nn

from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def clip_at_zero() -> nn.Hardtanh:
    """Return the activation that ``to_onnx`` writes as ``Clip`` with min 0 and no max."""
    return nn.Hardtanh(0.0, math.inf)


def _match(site: Site) -> Match | Miss:
    before = site.before()
    if before is not None and isinstance(site.module(before), nn.BatchNorm2d):
        before = site.before(before)
    if before is None or not isinstance(site.module(before), nn.Conv2d):
        return Miss("not directly after a convolution; nncase 1.9 compiles a Clip nowhere else")
    return Match((site.node,), f"Relu after {before.target}")


def _build(site: Site, match: Match) -> Built:
    return Built(nn.Sequential(clip_at_zero()))


RULE = Rule(
    name="clip-after-conv",
    kind="exact",
    concerns=(nn.ReLU,),
    matches="Relu after a convolution, a BatchNorm in between or not",
    becomes="Clip with min 0 and no max",
    why="a Relu keeps nncase from moving a stride-2 slice into the next 1×1 convolution: MobileNetV1-0.5 at 224×224 "
    "needs 2,157,568 bytes of heap with Relu, 175,616 with Clip",
    source="strided_slice_motion.cpp:32 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
