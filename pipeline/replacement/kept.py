"""The words that replacement leaves in a network's file: why it left the layers in which `check` finds something."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from pipeline.kpu.check import check_network
from pipeline.kpu.kept import write_kept
from pipeline.network.names import layer_name
from pipeline.replacement.report import Layer

_OTHER_FORM = ("not ", "one operand is a constant")
"""Begins the answer of a rule that is about another form of the layer."""


def note_kept(model: onnx.ModelProto, layers: Sequence[Layer]) -> None:
    """Write into ``model`` (in place) why no rule took a layer, for each in which there is a finding.

    Args:
        model: the network after replacement.
        layers: of the replacement's report.
    """
    reasons = _reasons(layers)
    found = {finding.layer for finding in check_network(model).findings} if reasons else set()
    write_kept(model, {layer: reason for layer, reason in reasons.items() if layer in found})


def _reasons(layers: Sequence[Layer]) -> dict[str, str]:
    """Why no rule took a layer, for each that rules concern and none took; rules for other forms have no say."""
    reasons: dict[str, str] = {}
    for layer in layers:
        said: dict[str, list[str]] = {}
        for tried in layer.tried:
            if not tried.why.startswith(_OTHER_FORM):
                said.setdefault(tried.why, []).append(tried.rule)
        if said and not any(tried.taken for tried in layer.tried):
            reasons[layer_name(layer.name)] = "; ".join(f"{', '.join(rules)}: {why}" for why, rules in said.items())
    return reasons
