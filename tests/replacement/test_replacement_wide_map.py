"""Maps of more channels than the KPU counts: which channels go, and where none may."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from replacement_samples import Sample, lifted
from test_replacement_wide import RULES, applied, convs, gaussian, violations, why
from torch import Tensor, nn

from pipeline.kpu import limits
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add
from pipeline.replacement.channels import keep_channels
from pipeline.replacement.regression import record, relative_error
from pipeline.replacement.rewrite import Candidate, Choice, Rewritten, rewrite


def conv2d(inputs: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.conv2d(inputs, weight.float(), padding=weight.shape[-1] // 2)


@pytest.mark.parametrize("kernel", [1, 3])
def test_channels_that_others_stand_in_for_go_first_and_nothing_is_lost(kernel: int) -> None:
    own = gaussian(8, 4, 9, 9)
    maps = torch.cat([own, own[:, :2] + own[:, 2:], 2 * own[:, :1]], 1)  # 4 is the sum of 0 and 2, and so on
    weight = gaussian(5, 7, kernel, kernel, seed=1)
    wanted = conv2d(maps, weight)
    kept = keep_channels(weight, maps, wanted, 4)
    assert torch.linalg.matrix_rank(maps[:, kept.channels].transpose(0, 1).flatten(1)) == 4
    given = conv2d(maps[:, kept.channels], kept.weight)
    assert float((given - wanted).abs().max()) < 1e-2 * float(wanted.std())


def test_of_independent_channels_those_with_least_effect_on_the_outputs_go() -> None:
    maps = gaussian(8, 6, 9, 9) * torch.tensor([1.0, 1.0, 1e-2, 1.0, 10.0, 1.0]).view(1, 6, 1, 1)
    effect = torch.tensor([1.0, 1e-3, 1.0, 1.0, 1e-2, 1.0]).view(1, 6, 1, 1)  # 2: dark, 1: not read, 4: bright, hardly
    weight = gaussian(5, 6, 1, 1, seed=1).sign() * effect
    kept = keep_channels(weight, maps, conv2d(maps, weight), 4)
    assert kept.channels.tolist() == [0, 3, 4, 5]


def test_all_channels_stay_as_they_are_where_there_is_room() -> None:
    weight, maps = gaussian(5, 6, 3, 3), gaussian(4, 6, 8, 8, seed=1)
    kept = keep_channels(weight, maps, conv2d(maps, weight), 6)
    assert kept.channels.tolist() == list(range(6))
    assert torch.allclose(kept.weight.float(), weight)


def wide(*between: tuple[str, nn.Module], last: nn.Conv2d | None = None, side: int = 8, first: int = 6) -> Sample:
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, first, 1), act=nn.ReLU())
    layers["first"] = nn.Conv2d(first, 1100, 1)
    layers.update(between)
    layers["last"] = nn.Conv2d(1100, 9, 1) if last is None else last
    return lifted(layers, (2, side, side))


@pytest.mark.parametrize(
    "between",
    [
        (("norm", nn.BatchNorm2d(1100)), ("relu", nn.ReLU6())),
        (("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2, 2))),
        (("relu", nn.ReLU6()), ("depthwise", nn.Conv2d(1100, 1100, 3, 1, 1, groups=1100)), ("clip", nn.ReLU6())),
    ],
)
def test_a_wide_map_becomes_as_wide_as_the_kpu_counts(between: tuple[tuple[str, nn.Module], ...]) -> None:
    sample = wide(*between)
    assert {"output-channels", "input-channels"} <= set(violations(Rewritten(sample.network, sample.contract, ())))
    done = applied(sample, "wide-map", "clip-after-conv")
    assert violations(done) == []
    assert max(conv.out_channels for conv in convs(done)) == limits.MAX_CHANNELS


def test_it_becomes_narrower_still_where_the_next_layer_would_take_too_many_weight_loads() -> None:
    done = applied(wide(("relu", nn.ReLU()), last=nn.Conv2d(1100, 512, 3, 1, 1)), "wide-map", "clip-after-conv")
    assert violations(done) == []


def initialised(sample: Sample, images: NDArray[np.uint8]) -> Rewritten:
    def choose(candidates: Sequence[Candidate]) -> Choice:
        (only,) = candidates
        read, gives = only.match.nodes[0].all_input_nodes[0], only.match.nodes[-1]
        values = record(sample.network, (str(read.target), str(gives.target)), images, sample.contract)
        assert only.rule.initialise is not None
        inputs, outputs = values[str(read.target)], values[str(gives.target)]
        only.rule.initialise(only.site, only.match, only.built.chain, inputs, outputs, 0)
        return Choice(only)

    return rewrite(sample.network, sample.contract, [RULES["wide-map"]], choose)


def test_the_channels_that_stay_keep_their_norm_and_depthwise_kernels() -> None:
    sample = wide(("norm", nn.BatchNorm2d(1100)), ("deep", nn.Conv2d(1100, 1100, 3, 1, 1, groups=1100)))
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 8, 8), np.uint8)
    done = initialised(sample, images)
    (left,) = [step.becomes for step in done.steps if step.taken]
    narrow = record(done.network, left[-2:], images, sample.contract)
    whole = record(sample.network, ("deep", "last"), images, sample.contract)
    own, all_ = (values.transpose(0, 1).flatten(1) for values in (narrow[left[-2]], whole["deep"]))
    distances = torch.cdist(own, all_, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distances.min(1).values.max()) < 1e-2
    assert relative_error(narrow["last"], whole["last"]) < 1e-3


class Skip(nn.Module):
    """A wide convolution in one branch of a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(2, 6, 1), nn.Conv2d(6, 1100, 1), nn.Conv2d(6, 1100, 1)
        self.sum, self.last = Add(), nn.Conv2d(1100, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        result: Tensor = self.last(self.sum(self.first(stem), self.second(stem)))
        return result


def test_a_wide_map_in_a_sum_stays_and_the_reason_names_the_sum() -> None:
    contract = InputContract((2, 8, 8), (0.3, 0.3), (0.25, 0.25))
    sample = Sample(to_torch(to_onnx(Skip().eval(), contract)), contract)
    done = applied(sample, "wide-map")
    assert not any(step.taken for step in done.steps)
    assert why(done, "first") == "its map of 1,100 channels is part of sum (Add), so is what it is joined with"
    assert why(done, "last") == "its 1,100 inputs can only be fewer where they are made"


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (wide(("act2", nn.SiLU())), "its map of 1,100 channels is read by act2, a SiLU"),
        (wide(last=nn.Conv2d(1100, 1030, 1)), "its map of 1,100 channels is made into another of 1,030"),
        (wide(first=1030), "its map of 1,100 channels is made of another of 1,030"),
        (wide(("pool", nn.MaxPool2d(3, 2, 1))), "its map of 1,100 channels is read by pool, a MaxPool2d"),
    ],
)
def test_other_wide_maps_stay_and_the_reason_is_said(sample: Sample, reason: str) -> None:
    done = applied(sample, "wide-map")
    assert why(done, "first") == reason
