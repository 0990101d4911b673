"""conv (→ BatchNorm) → Mul → Add with one constant a channel → conv (→ BatchNorm).

``s·(W·x + b) + t`` is ``(s·W)·x + (s·b + t)``. Where a BatchNorm comes first it takes ``s`` and ``t`` into its own
factor and summand, ``γ' = s·γ``, ``β' = s·β + t``, and stays: a stage may train it further. This is how Caffe's
BatchNorm and Scale come through ONNX.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.replacement.affine import AFFINE, Run, fold_behind, map_before, run_at
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    run = run_at(site)
    if isinstance(run, Miss):
        return run
    before = map_before(site.node)
    if before is None or not isinstance(site.module(before), nn.Conv2d) or len(before.users) != 1:
        return Miss("not directly behind a convolution that nothing else reads")
    norm = isinstance(site.module(), nn.BatchNorm2d)
    if norm and len(run.nodes) == 1:
        return Miss("a BatchNorm directly behind a convolution: folded when the network is quantised")
    return Match(run.nodes if norm else (before, *run.nodes), f"{run.found(site)} behind {before.target}")


def _build(site: Site, match: Match) -> Built:
    run = run_at(site)
    assert isinstance(run, Run)
    first = site.module()
    if isinstance(first, nn.BatchNorm2d):
        return Built(nn.Sequential(_scaled(first, run)))
    conv = site.module(match.nodes[0])
    assert isinstance(conv, nn.Conv2d)
    return Built(nn.Sequential(fold_behind(conv, *run.on(conv.out_channels))))


def _scaled(norm: nn.BatchNorm2d, run: Run) -> nn.BatchNorm2d:
    """A BatchNorm of the same statistics that does what the run does."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    made = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    scale, shift = run.on(norm.num_features)
    factor = scale * torch.sqrt(norm.running_var.double() + norm.eps)
    with torch.no_grad():
        made.weight.copy_(factor)
        made.bias.copy_(shift + norm.running_mean.double() * scale)
        assert made.running_mean is not None
        assert made.running_var is not None
        made.running_mean.copy_(norm.running_mean)
        made.running_var.copy_(norm.running_var)
    return made


RULE = Rule(
    name="affine-fold",
    kind="exact",
    concerns=AFFINE,
    matches="products and sums with one constant a channel (Caffe's Scale), behind a convolution or its BatchNorm",
    becomes="the BatchNorm's own factor and summand, or the convolution's weights and bias",
    why="they keep the activation behind them, and every rule that looks for one, from the convolution; what nncase "
    "1.9 does not fold is a float32 operator on the CPU",
    source="fold_conv2d_binary.cpp of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
