"""Every finding on a network, and what its kmodel will need: the answer of ``kpufit check``, without a compiler."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from pipeline.errors import NetworkError
from pipeline.kpu import limits
from pipeline.kpu.head import head_layers
from pipeline.kpu.input_size import FittingSize, fitting_size
from pipeline.kpu.kept import read_kept
from pipeline.kpu.layers import Network, read_network
from pipeline.kpu.prediction import Prediction, predict
from pipeline.kpu.rules import Finding, Site, all_rules

_REPLACE = "`kpufit replace`"
"""Stands where replacement mends what a rule finds."""

VIOLATIONS = frozenset({"wrong-numbers", "does-not-compile", "may-not-run", "cpu"})


@dataclass(frozen=True)
class Checked:
    """A network that was checked.

    Attributes:
        network: its layers.
        prediction: what nncase makes of it.
        head: names of the layers of its classifier, which may run on the CPU without a finding.
        findings: every rule that a layer breaks, in the network's order.
        fitting: where the maps are too large for the KPU: the image for which they are not, None if there is none.
    """

    network: Network
    prediction: Prediction
    head: frozenset[str]
    findings: tuple[Finding, ...]
    fitting: FittingSize | None = None

    @property
    def violations(self) -> tuple[Finding, ...]:
        """The findings that stop a network: wrong numbers, no kmodel, or the CPU beside a classifier's head."""
        return tuple(finding for finding in self.findings if finding.severity in VIOLATIONS)

    @property
    def left(self) -> tuple[Finding, ...]:
        """What replacement leaves: violations, and what takes main memory, with the reason why it was left."""
        return tuple(each for each in self.findings if each.severity in VIOLATIONS or each.kept)


def check_network(model: onnx.ModelProto, version: int = 5, *, raw: bool = False, where: str = "") -> Checked:
    """Check a network against every rule.

    Args:
        model: ONNX with one image input of fixed size, in normal form or as a user's file has it.
        version: of the kmodel.
        raw: judge what nncase alone would do with it, without kpufit's preparation.
        where: the file, for messages.

    Raises:
        NetworkError: the network has not one image input of fixed size, or reads what nothing gives.
    """
    try:
        return _check(model, version, raw=raw)
    except NetworkError as error:
        place = ": ".join(part for part in (where, error.where) if part)
        raise NetworkError(error.what, where=place, remedy=error.remedy) from error


def _check(model: onnx.ModelProto, version: int, *, raw: bool) -> Checked:
    prediction = predict(model, version, prepared=not raw)
    network = read_network(model, prediction.program.shapes)
    head, kept = head_layers(network), read_kept(model)
    findings = []
    for layer, predicted in zip(network.layers, prediction.layers, strict=True):
        site = Site(layer, network, predicted, prediction, raw)
        for each in all_rules():
            seen = each.check(site)
            if seen is None or (each.severity == "cpu" and layer.name in head):
                continue
            left = kept.get(layer.name, "") if _REPLACE in each.replacement else ""
            about = (each.name, each.severity, seen, each.limit, each.why, each.replacement)
            findings.append(Finding(layer.name, layer.op, *about, left))
    fitting = None
    if prediction.kpu_bytes > limits.KPU_MEMORY_BYTES:
        fitting = fitting_size(model, prepared=not raw, float_head=version < 5)
    return Checked(network, prediction, head, tuple(findings), fitting)
