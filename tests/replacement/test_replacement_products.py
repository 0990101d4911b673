"""Fully connected layers over more values than the KPU counts: what becomes of them, and which stay."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from replacement_samples import Sample, lifted
from test_replacement_wide import RULES, applied, gaussian, violations, why
from torch import Tensor, fx, nn

from pipeline.kpu import limits
from pipeline.kpu.check import check_network
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.pruning.limit import within_channels
from pipeline.recipe import Replace
from pipeline.replacement.regression import regress
from pipeline.replacement.rewrite import Rewritten, rewrite
from pipeline.replacement.rule import Match, Site
from pipeline.replacement.standalone import replace_alone


def classifier(channels: int, *layers: nn.Module, side: int = 8, stride: int = 1) -> Sample:
    """A convolution to ``channels``×``side``×``side``, then ``layers`` over it."""
    named: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, channels, 3, stride, 1), act=nn.ReLU())
    named["flatten"] = nn.Flatten()
    named.update((f"{type(layer).__name__.lower()}{index}", layer) for index, layer in enumerate(layers))
    return lifted(named, (2, side * stride, side * stride))


@pytest.mark.parametrize(("channels", "side"), [(24, 7), (64, 8), (128, 4), (20, 14)])
def test_after_it_check_finds_nothing_but_the_head(channels: int, side: int) -> None:
    inputs = channels * side * side
    sample = classifier(channels, nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 10), side=side)
    assert violations(Rewritten(sample.network, sample.contract, ())) == ["input-channels", "behind-cpu"]
    done = applied(sample, "wide-product", "clip-after-conv")
    assert done.contract is not None
    checked = check_network(to_onnx(done.network, done.contract))
    assert checked.violations == ()
    assert checked.head == {"linear2"}
    widest = max(module.in_features for module in done.network.modules() if isinstance(module, nn.Linear))
    assert widest <= limits.MAX_CHANNELS


def test_a_map_whose_sides_halve_is_halved_so_that_four_times_the_channels_stay() -> None:
    for side, form in ((8, ((64, 20, 3, 3), 2)), (7, ((20, 22, 1, 1), 1))):
        channels = form[0][1]
        done = applied(
            classifier(channels, nn.Linear(channels * side**2, 32), nn.Linear(32, 10), side=side), "wide-product"
        )
        fewer = done.network.get_submodule("linear0_fewer")
        assert (tuple(fewer.weight.shape), fewer.stride[0]) == form


def started(sample: Sample, maps: Tensor) -> tuple[nn.Sequential, Tensor]:
    """What the rule makes of ``linear0`` and its start over ``maps``, and what the layer gives."""
    rule = RULES["wide-product"]
    node = next(node for node in sample.network.graph.nodes if str(node.target) == "linear0")
    site = Site(sample.network, node, sample.contract)
    match = rule.match(site)
    assert isinstance(match, Match)
    chain = rule.build(site, match).chain
    with torch.no_grad():
        wanted: Tensor = sample.network.get_submodule("linear0")(maps.flatten(1))
    assert rule.initialise is not None
    rule.initialise(site, match, chain, maps, wanted, 0)
    return chain, wanted


@pytest.mark.parametrize(("channels", "side", "kept"), [(24, 7, 20), (20, 8, 16)])
def test_of_maps_that_are_mixed_of_few_channels_nothing_is_lost(channels: int, side: int, kept: int) -> None:
    mixed = torch.einsum("nkhw,ck->nchw", gaussian(40, kept - 4, side, side), gaussian(channels, kept - 4, seed=1))
    sample = classifier(channels, nn.Linear(channels * side**2, 8), nn.ReLU(), nn.Linear(8, 3), side=side)
    chain, wanted = started(sample, mixed + 0.5)
    with torch.no_grad():
        assert float((chain(mixed + 0.5) - wanted).abs().max()) < 1e-3 * float(wanted.std())


def test_the_channels_kept_have_one_scale() -> None:
    maps = gaussian(40, 24, 7, 7) * torch.logspace(-1, 1, 24).view(1, 24, 1, 1)
    sample = classifier(24, nn.Linear(24 * 49, 8), nn.ReLU(), nn.Linear(8, 3), side=7)
    chain, _ = started(sample, maps)
    with torch.no_grad():
        spread = chain[0](maps).square().mean((0, 2, 3)).sqrt()
    assert float(spread.max() / spread.min()) < 1.5


def test_regression_fits_a_product_and_measures_it_on_images_it_did_not_see() -> None:
    maps = gaussian(60, 3, 2, 2)
    layer = nn.Linear(12, 5)
    with torch.no_grad():
        wanted = layer(maps.flatten(1))
    block = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    fit = regress(block, maps, wanted, 200, 0, "fitting")
    assert fit.images == 48
    assert fit.fitted < 0.5 * fit.initial


class TwoOutputs(nn.Module):
    """Two products that are outputs, so that neither is a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.flatten = nn.Conv2d(2, 24, 1), nn.ReLU(), nn.Flatten()
        self.first, self.other, self.second = nn.Linear(1536, 10), nn.Flatten(), nn.Linear(1536, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        map_ = self.act(self.stem(x))
        return self.first(self.flatten(map_)), self.second(self.other(map_))


def test_a_product_of_several_outputs_is_no_head() -> None:
    contract = InputContract((2, 8, 8), (0.3, 0.3), (0.25, 0.25))
    sample = Sample(to_torch(to_onnx(TwoOutputs().eval(), contract)), contract)
    assert {"input-channels"} == set(violations(Rewritten(sample.network, sample.contract, ())))
    assert violations(applied(sample, "wide-product", "clip-after-conv")) == []


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((nn.Linear(1536, 10),), "not before another product: as the head, it stays in float"),
        ((nn.Linear(1536, 10), nn.Softmax(1)), "not before another product: as the head, it stays in float"),
        ((nn.Linear(1536, 1100), nn.Linear(1100, 10)), "its 1,536 inputs are made into 1,100 outputs, more"),
    ],
)
def test_others_stay_and_the_reason_is_said(layers: tuple[nn.Module, ...], reason: str) -> None:
    done = applied(classifier(24, *layers), "wide-product")
    assert not any(step.taken for step in done.steps)
    assert why(done, "linear0").startswith(reason)


def test_inputs_that_are_no_map_stay() -> None:
    layers = (nn.Linear(64, 1100), nn.ReLU(), nn.Linear(1100, 8), nn.Linear(8, 3))
    done = applied(classifier(4, *layers, side=4), "wide-product")
    assert why(done, "linear2") == (
        "its 1,100 inputs are no map that it alone reads: they can only be fewer where they are made"
    )


def test_a_map_that_the_kpu_cannot_run_a_convolution_over_stays() -> None:
    sample = classifier(120, nn.Linear(120 * 9, 8), nn.Linear(8, 3), side=3)
    assert why(applied(sample, "wide-product"), "linear0") == "the KPU cannot run a 1×1 over a map of 120×3×3"


def test_without_the_size_of_its_map_nothing_is_done() -> None:
    sample = classifier(24, nn.Linear(1536, 8), nn.Linear(8, 3))
    done = rewrite(sample.network, None, [RULES["wide-product"]])
    assert not any(step.taken for step in done.steps)


def test_hidden_units_over_the_limit_are_narrowed_first_and_then_the_inputs_of_the_first_layer() -> None:
    layers = (nn.Linear(1536, 1100), nn.ReLU(), nn.Linear(1100, 1050), nn.ReLU(), nn.Linear(1050, 10))
    sample = classifier(24, *layers)
    assert set(violations(Rewritten(sample.network, sample.contract, ()))) >= {"input-channels", "output-channels"}
    settings = Replace(max_drop=1.0, regression_steps=0, distil_steps=0)

    def narrow(*wide: Any) -> fx.GraphModule:
        return within_channels(*wide).network

    done = replace_alone(sample.network, sample.contract, None, settings, seed=0, narrow=narrow).replaced
    assert check_network(to_onnx(done.network, done.contract)).violations == ()
