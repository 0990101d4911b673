"""Sums, concats, gates, groups and shuffles: what nncase makes of their replacements, and where there is none."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import pytest
import torch
from sample_form import Sample, lifted
from samples_structure import Gated, Parallel, conv
from test_replacement_conformance import pixels
from torch import nn

from pipeline.kpu.check import Checked, check_network
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add, Concat, Mul, Reshape, Slice, Transpose
from pipeline.replacement.activations import canonical, unchanged
from pipeline.replacement.regression import record, relative_error, value_name
from pipeline.replacement.rewrite import Candidate, Choice, Rewritten, rewrite
from pipeline.replacement.rule import Match, Site
from pipeline.replacement.rules import all_rules

RULES = {rule.name: rule for rule in all_rules()}
RELU = nn.ReLU


def block(join: nn.Module, *branches: nn.Module, channels: int, size: int = 32, act: nn.Module | None = None) -> Sample:
    """Branches behind a convolution with an activation (ReLU), an activation and a convolution after them."""
    layers = OrderedDict(stem=conv(3, channels, 3, act=act or RELU()), block=Parallel(join, *branches), act=RELU())
    return lifted(layers, (3, size, size))


def applied(sample: Sample, names: Sequence[str]) -> Rewritten:
    return rewrite(sample.network, sample.contract, [RULES[name] for name in (*names, "clip-after-conv")])


def checked(done: Rewritten) -> Checked:
    assert done.contract is not None
    return check_network(to_onnx(done.network, done.contract))


def shuffle(channels: int, groups: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        Reshape((groups, channels // groups, size, size)),
        Transpose((0, 2, 1, 3, 4)),
        Reshape((channels, size, size)),
    )


def layers(*modules: nn.Module) -> Sample:
    named = OrderedDict((f"layer{number}", module) for number, module in enumerate(modules))
    return lifted(named, (3, 32, 32))


PLAIN = nn.Identity


def bottleneck(wide: int) -> nn.Module:
    narrow = wide // 4
    return nn.Sequential(conv(wide, narrow, 1, act=RELU()), conv(narrow, narrow, 3, act=RELU()), conv(narrow, wide, 1))


def basic(channels: int, act: nn.Module) -> nn.Module:
    return nn.Sequential(conv(channels, channels, 3, act=act), conv(channels, channels, 3))


def dense(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), RELU(), conv(channels, 32, 1, act=RELU()), conv(32, 8, 3))


MENDED = {
    "residual": (
        "residual-merge",
        lambda: block(Add(), nn.Sequential(conv(16, 16, 3, act=RELU()), conv(16, 16, 3)), nn.Identity(), channels=16),
    ),
    "residual, strided": (
        "residual-merge",
        lambda: block(
            Add(),
            nn.Sequential(conv(16, 32, 3, stride=2, act=RELU()), conv(32, 32, 3)),
            conv(16, 32, 1, stride=2),
            channels=16,
        ),
    ),
    "fire": (
        "concat-merge",
        lambda: block(Concat(1), conv(16, 64, 1, act=RELU()), conv(16, 64, 3, act=RELU()), channels=16),
    ),
    "ShuffleNet's strided unit": (
        "concat-merge",
        lambda: block(
            Concat(1),
            nn.AvgPool2d(3, 2, 1),
            nn.Sequential(conv(24, 24, 1, act=RELU()), conv(24, 24, 3, stride=2, groups=24), conv(24, 40, 1)),
            channels=24,
        ),
    ),
    "MobileNetV2": (
        "residual-carry",
        lambda: layers(
            conv(3, 16, 3),
            Parallel(
                Add(),
                nn.Identity(),
                nn.Sequential(
                    conv(16, 96, 1, act=nn.ReLU6()), conv(96, 96, 3, groups=96, act=nn.ReLU6()), conv(96, 16, 1)
                ),
            ),
            conv(16, 8, 1),
        ),
    ),
    "DenseNet": (
        "concat-carry",
        lambda: layers(conv(3, 16, 3), Parallel(Concat(1), PLAIN(), dense(16)), conv(24, 8, 1)),
    ),
    "a branch behind a max-pool": (
        "concat-carry",
        lambda: block(
            Concat(1),
            conv(16, 8, 1, act=RELU()),
            nn.Sequential(conv(16, 8, 1, act=RELU()), conv(8, 16, 3, act=RELU())),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(16, 8, 1, act=RELU())),
            channels=16,
        ),
    ),
    "a pool that a depthwise convolution stands for": (
        "concat-carry",
        lambda: block(
            Concat(1),
            conv(16, 8, 1, act=RELU()),
            nn.Sequential(conv(16, 16, 3, groups=16), conv(16, 8, 1, act=RELU())),
            channels=16,
        ),
    ),
    "bottleneck on a large map": (
        "residual-merge",
        lambda: block(Add(), bottleneck(32), PLAIN(), channels=32, size=64),
    ),
    "gate, removed": (
        "squeeze-removed",
        lambda: layers(conv(3, 16, 3, act=RELU()), Gated(16, 4, RELU(), nn.Sigmoid(), dense=False), conv(16, 8, 3)),
    ),
    "gate, linear": (
        "squeeze-linear",
        lambda: layers(conv(3, 16, 3, act=RELU()), Gated(16, 4, RELU(), nn.Sigmoid(), dense=True), conv(16, 8, 3)),
    ),
    "groups": (
        "grouped-dense",
        lambda: layers(conv(3, 16, 3, act=RELU()), conv(16, 32, 3, groups=4, act=RELU()), conv(32, 8, 3)),
    ),
    "many groups": (
        "grouped-separable",
        lambda: layers(conv(3, 128, 3, act=RELU()), conv(128, 128, 3, groups=32, act=RELU()), conv(128, 8, 3)),
    ),
    "shuffle after a grouped 1×1": (
        "shuffle-fold",
        lambda: layers(
            conv(3, 16, 3, act=RELU()),
            conv(16, 16, 1, groups=4, act=RELU()),
            shuffle(16, 4, 32),
            conv(16, 16, 3, groups=16, act=RELU()),
            conv(16, 8, 1),
        ),
    ),
    "shuffle alone": (
        "shuffle-fold",
        lambda: layers(
            conv(3, 16, 3, act=RELU()),
            nn.MaxPool2d(2),
            shuffle(16, 4, 16),
            conv(16, 16, 3, groups=16, act=RELU()),
            conv(16, 8, 1),
        ),
    ),
}


@pytest.mark.parametrize(("rule", "make"), MENDED.values(), ids=MENDED.keys())
def test_nothing_stays_on_the_cpu_and_the_heap_shrinks(rule: str, make) -> None:
    sample = make()
    before = check_network(to_onnx(sample.network, sample.contract))
    done = applied(sample, [rule])
    assert [step.rule.name for step in done.steps if step.taken and step.rule.name == rule] == [rule]
    after = checked(done)
    assert before.findings
    assert not after.findings
    assert {layer.unit for layer in after.prediction.layers} == {"kpu"}
    assert after.prediction.heap_bytes < before.prediction.heap_bytes


MISSES = [
    ("residual-merge", block(Add(), bottleneck(128), PLAIN(), channels=128, size=8), "bytes of main memory"),
    ("residual-merge", block(Add(), basic(8, nn.SiLU()), PLAIN(), channels=8), "SiLU() would change a copy"),
    ("residual-merge", block(Add(), basic(8, nn.ReLU6()), PLAIN(), channels=8), "whose values lie in 0 … inf"),
    ("residual-merge", block(Add(), basic(8, RELU()), PLAIN(), channels=8, act=nn.SiLU()), "values lie in -inf … inf"),
    ("residual-merge", block(Add(), basic(8, RELU()), nn.MaxPool2d(3, 1, 1), channels=8), "MaxPool2d) is no conv"),
    ("residual-merge", block(Add(), basic(528, RELU()), PLAIN(), channels=528, size=4), "1,056 channels, over 1024"),
    ("residual-merge", block(Add(), basic(336, RELU()), PLAIN(), channels=336, size=4), "portions, over 64"),
    ("residual-merge", block(Add(), basic(64, RELU()), PLAIN(), channels=64, size=128), "bytes of the KPU's 2,097,152"),
    (
        "residual-carry",
        block(Add(), basic(8, RELU()), conv(8, 8, 3), channels=8, act=nn.SiLU()),
        "read by more than a 1×1",
    ),
    (
        "concat-merge",
        block(Concat(1), conv(8, 8, 1, act=RELU()), conv(8, 8, 3, act=nn.SiLU()), channels=8),
        "different activations in one layer: ReLU(), SiLU()",
    ),
    (
        "concat-merge",
        block(Concat(1), conv(8, 8, 1, act=RELU()), nn.AvgPool2d(3, 1, 1, count_include_pad=False), channels=8),
        "does not count its padding",
    ),
    ("concat-merge", block(Concat(2), conv(8, 8, 1), conv(8, 8, 3), channels=8), "not along the channels"),
    # DenseNet: batch normalisation and ReLU first, the value itself beside what comes of it.
    (
        "concat-merge",
        block(
            Concat(1),
            PLAIN(),
            nn.Sequential(nn.BatchNorm2d(256), RELU(), conv(256, 128, 1, act=RELU()), conv(128, 32, 3)),
            channels=256,
            size=8,
        ),
        "bytes of main memory",
    ),
    (
        "squeeze-removed",
        block(Mul(), conv(8, 8, 1), conv(8, 8, 1, act=nn.Sigmoid()), channels=8),
        "mean over the whole",
    ),
    ("shuffle-fold", layers(conv(3, 8, 1), Transpose((0, 1, 3, 2)), conv(8, 8, 1)), "not between two reshapes"),
    ("grouped-dense", layers(conv(3, 128, 1), conv(128, 128, 3, groups=32)), "more than 4 times as many"),
    ("grouped-dense", layers(conv(3, 8, 1), conv(8, 8, 3, groups=8)), "depthwise, which the KPU runs"),
    ("grouped-separable", layers(conv(3, 8, 1), conv(8, 8, 1, groups=2)), "a 1×1 is dense at little cost"),
]


@pytest.mark.parametrize(("rule", "sample", "reason"), MISSES, ids=[f"{rule}: {why}" for rule, _, why in MISSES])
def test_a_miss_carries_its_reason(rule: str, sample: Sample, reason: str) -> None:
    done = rewrite(sample.network, sample.contract, [RULES[rule]])
    assert not any(step.taken for step in done.steps)
    assert any(reason in step.why for step in done.steps), [step.why for step in done.steps]


def test_a_basic_block_doubles_and_an_option_a_shortcut_costs_its_inputs_only() -> None:
    sample = Slice(((2, 0, None, 2), (3, 0, None, 2)))
    option_a = nn.Sequential(sample, nn.ConstantPad3d((0, 0, 0, 0, 8, 8), 0.0))
    body = nn.Sequential(conv(16, 32, 3, stride=2, act=RELU()), conv(32, 32, 3))
    done = applied(block(Add(), body, option_a, channels=16), ["residual-merge"])
    (step,) = [step for step in done.steps if step.rule.name == "residual-merge"]
    assert step.why == "2 branches; 16→48→32 channels, 13,824→20,736 weights"


def test_a_chain_of_residual_blocks_is_merged_to_its_end() -> None:
    def residual() -> nn.Module:
        return nn.Sequential(Parallel(Add(), basic(8, RELU()), PLAIN()), RELU())

    sample = layers(conv(3, 8, 3, act=RELU()), residual(), residual(), residual())
    done = applied(sample, ["residual-merge"])
    assert "Add" not in repr(done.network)
    assert not checked(done).findings


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet"])
def test_a_signed_value_is_carried_nearly_exactly_before_any_regression(name: str) -> None:
    errors = []

    def initialised(candidates: Sequence[Candidate]) -> Choice:
        (candidate,) = candidates
        read, gives = (str(node.target) for node in (candidate.match.nodes[0].args[0], candidate.match.nodes[-1]))
        values = record(sample.network, (read, gives), pixels(sample.contract, 0, 16), sample.contract)
        chain = candidate.built.chain
        candidate.rule.initialise(candidate.site, candidate.match, chain, values[read], values[gives], 0)
        with torch.no_grad():
            errors.append(relative_error(chain(values[read]), values[gives]))
        return Choice(candidate)

    rule, make = MENDED[name]
    sample = make()
    rewrite(sample.network, sample.contract, [RULES[rule]], initialised)
    assert errors
    assert max(errors) < 1e-9


@pytest.mark.parametrize("rules", [[], ["max-pool-cascade"]], ids=["whole", "as the KPU's pools"])
def test_a_max_pool_in_a_branch_is_fitted_in_closed_form(rules: list[str]) -> None:
    sample = MENDED["a branch behind a max-pool"][1]()
    given = rewrite(sample.network, sample.contract, [RULES[name] for name in rules]).network
    (concat,) = [node for node in given.graph.nodes if isinstance(Site(given, node, None).module(), Concat)]
    site = Site(given, concat, sample.contract)
    match = RULES["concat-carry"].match(site)
    assert isinstance(match, Match)
    chain = RULES["concat-carry"].build(site, match).chain
    read, gives = value_name(match.nodes[0].all_input_nodes[0]), value_name(concat)
    values = record(given, (read, gives), pixels(sample.contract, 0, 16), sample.contract)
    RULES["concat-carry"].initialise(site, match, chain, values[read], values[gives], 0)
    with torch.no_grad():
        made = chain(values[read])
    assert torch.allclose(made[:, :24], values[gives][:, :24], atol=1e-5)  # the branches without a pool
    assert relative_error(made[:, 24:], values[gives][:, 24:]) < 0.5  # on noise, where neighbours have least in common


def test_a_padded_max_pool_keeps_its_map_positive() -> None:
    sample = layers(
        conv(3, 8, 3, act=RELU()),
        nn.ConstantPad2d((0, 1, 0, 1), -math.inf),
        nn.MaxPool2d(3, 2),
        Parallel(Add(), basic(8, RELU()), PLAIN()),
    )
    done = rewrite(sample.network, sample.contract, [RULES["residual-merge"]])
    assert [step.taken for step in done.steps] == [True]


def test_activations_are_compared_by_what_they_do() -> None:
    assert canonical(RELU()) == canonical(nn.Hardtanh(0.0, math.inf))
    assert canonical(nn.ReLU6()) == canonical(nn.Hardtanh(0.0, 6.0))
    assert canonical(nn.LeakyReLU(0.1)) != canonical(nn.LeakyReLU(0.2))
    assert unchanged(nn.ReLU6(), (0.0, 6.0))
    assert not unchanged(nn.ReLU6(), (0.0, 7.0))
    assert unchanged(None, (-math.inf, math.inf))
    assert not unchanged(nn.Sigmoid(), (0.0, 1.0))
