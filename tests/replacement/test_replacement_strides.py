"""Strides that the KPU has not: the same convolution, looked at in other places."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from replacement_samples import SAMPLES, Sample
from sample_form import lifted
from torch import nn

from pipeline.replacement.regression import record
from pipeline.replacement.rewrite import Candidate, Choice, rewrite
from pipeline.replacement.rules import all_rules

RULES = {rule.name: rule for rule in all_rules()}


@pytest.mark.parametrize("name", ["stride-finer", "stride-coarser"])
@settings(max_examples=10, deadline=None)
@given(sample=SAMPLES["stride-finer"]())
def test_pixels_that_both_strides_have_are_equal(name: str, sample: Sample) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *sample.contract.image), np.uint8)

    def fitted(candidates: Sequence[Candidate]) -> Choice:
        (candidate,) = candidates
        nothing = torch.empty(0)
        candidate.rule.initialise(candidate.site, candidate.match, candidate.built.chain, nothing, nothing, 0)
        return Choice(candidate)

    done = rewrite(sample.network, sample.contract, [RULES[name]], fitted)
    (step,) = [step for step in done.steps if step.taken]
    old, new = sample.network.get_submodule(step.layer), done.network.get_submodule(step.layer)
    wanted = record(sample.network, (step.layer,), images, sample.contract)[step.layer].numpy()
    given_ = record(done.network, (step.layer,), images, sample.contract)[step.layer].numpy()
    for axis, (before, after) in enumerate(zip(old.stride, new.stride, strict=True), start=2):
        common = np.lcm(before, after)
        wanted = np.moveaxis(np.moveaxis(wanted, axis, 0)[:: common // before], 0, axis)
        given_ = np.moveaxis(np.moveaxis(given_, axis, 0)[:: common // after], 0, axis)
    assert wanted.shape == given_.shape
    np.testing.assert_allclose(given_, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "image", "reason"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 3)), 24, "needs its map as large as it is"),
        (nn.Conv2d(4, 3, 1), 24, "output would have another size"),
        (nn.Sequential(nn.Conv2d(4, 3, 3, 1, 1), nn.AdaptiveAvgPool2d(1)), 10, "too small for the KPU"),
    ],
)
def test_what_follows_must_run_on_the_other_map(last: nn.Module, image: int, reason: str) -> None:
    layers = OrderedDict(strided=nn.Conv2d(1, 4, 3, 3, 1), act=nn.ReLU(), last=last)
    sample = lifted(layers, (1, image, image))
    done = rewrite(sample.network, sample.contract, [RULES["stride-coarser"]])
    assert [reason in step.why for step in done.steps if step.layer == "strided"] == [True]
