from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.network.names import UniqueNames, layer_name, output_names


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("/features/features.0/Conv", "features_features_0_Conv"),
        ("stem.conv", "stem_conv"),
        ("0", "layer_0"),
        ("", "layer"),
        ("/", "layer"),
        ("train", "train_layer"),
        ("class", "class_layer"),
        ("image", "image_layer"),
        ("logits_1", "logits_1_layer"),
        ("größe", "gr_e"),
    ],
)
def test_examples(given_name, expected):
    assert layer_name(given_name) == expected


@given(st.text())
def test_a_name_is_usable_and_stays_as_it_is(text):
    name = layer_name(text)
    assert name.isidentifier()
    assert layer_name(name) == name
    nn.Module().add_module(name, nn.ReLU())


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "b"])))
def test_names_handed_out_never_repeat(wanted):
    names = UniqueNames()
    taken = [names.take(name) for name in wanted]
    assert len(set(taken)) == len(taken)


def test_one_output_is_logits_and_several_are_numbered():
    assert output_names(1) == ("logits",)
    assert output_names(2) == ("logits_0", "logits_1")
