"""Results of a run that never was, for the page and the table."""

from __future__ import annotations

from typing import Any

import numpy as np
from kpu.prediction_networks import Builder

from pipeline.kpu.check import Checked, check_network
from pipeline.report.results import Picture, RunResults

LABELS = ["shirt", "bag", "<script>alert(1)</script>"]
VERDICT: dict[str, Any] = {
    "accepted": False,
    "firmware": "maixpy-full",
    "kmodel_version": 4,
    "checks": [
        {
            "name": "memory", "ok": False, "needed_bytes": 2_310_144, "limit_bytes": 2_000_000,
            "limit_by": "documented", "message": "310,144 over", "by": [{"layer": "conv7", "bytes": 1_000_000}],
            "remedies": ["use a smaller firmware", "prune harder: to 1,900,000 bytes, 82% of the present file"],
        },
        {"name": "kmodel version", "ok": True},
    ],
    "kmodel_bytes": 2_200_000, "heap_bytes": 109_407, "kpu_bytes": 100_000, "latency_ms": None, "cpu_ops": ["reduce"],
}  # fmt: skip


def before() -> Checked:
    """A 5×5 stem, a convolution with its pool, and a classifier; layers conv0, clip1, conv2, clip3, maxpool4, …"""
    return check_network(Builder(1, 32, 32).conv(16, 5).conv(32).pool().head(3).model(), 4)


def after() -> Checked:
    """The same, with the stem as two 3×3 and the convolution pruned; layers keep their names, as they do in replace."""
    model = Builder(1, 32, 32).conv(16, act="").conv(16).conv(24).pool().head(3).model()
    names = ("conv0_part1", "conv0", "clip1", "conv2", "clip3", "maxpool4", "reducemean5", "gemm6")
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    return check_network(model, 4)


def picture(number: int, side: int = 8, channels: int = 1) -> Picture:
    """Noise, which no compression makes smaller."""
    pixels = np.random.default_rng(number).integers(0, 256, (channels, side, side), np.uint8)
    return Picture(pixels, number, number % 2, 2)


FULL = RunResults(
    "fashion-mnist-mini",
    metrics={
        "train": {"validation_accuracy": 0.9, "parameters": 120_000},
        "prune": {"validation_accuracy": 0.89, "parameters": 60_000, "predicted_bytes": 61_000, "predicted_ms": 0.7,
                  "predicted_bytes_before": 130_000, "predicted_ms_before": 0.9, "budget_bytes": 61_440},
        "replace": {"validation_accuracy": 0.885, "parameters": 59_000},
        "quantise": {"validation_accuracy": 0.88},
        "convert": {"kmodel_bytes": 61_024, "heap_bytes": 109_407, "kpu_bytes": 100_000, "latency_ms": 0.65},
        "evaluate": {"float_accuracy": 0.91, "pruned_accuracy": 0.9, "replaced_accuracy": 0.895,
                     "quantised_accuracy": 0.894, "kmodel_accuracy": 0.893},
    },
    reports={
        "prune": {"groups": [{"name": "conv2", "layers": ["conv2", "gemm6"], "before": 32, "after": 24,
                              "importance_kept": 0.93}], "reached": True, "ratio": 0.4},
        "replace": {"layers": [{"name": "conv0", "op": "Conv2d", "becomes": ["conv0_part1", "conv0"],
                                "because": "5×5 runs on the CPU", "measured": {"error_fitted": 0.021},
                                "tried": [{"rule": "large-kernel", "kind": "learned", "taken": True, "why": "5×5"}]},
                               {"name": "head", "op": "Linear", "becomes": [],
                                "tried": [{"rule": "relu", "kind": "exact", "taken": False, "why": "no ReLU here"}]}],
                    "notes": [], "accuracy": {"before": 0.89, "after_exact": 0.889, "after_regression": 0.871,
                                              "after_distillation": None, "after": 0.885}},
        "quantise": {"kept": "ptq", "why": "ptq has the better kmodel", "equalisation": [], "layers": []},
        "convert": {"layers": [{"name": "conv1", "size": 4000, "weight_loads": 2},
                               {"name": "conv2", "size": 40_000, "weight_loads": 3}], "cpu_ops": ["reduce", "matmul"]},
        "evaluate": {"labels": LABELS, "confusion": [[8, 1, 1], [0, 10, 0], [2, 0, 8]],
                     "per_class": [{"class": LABELS[2], "accuracy": 0.8}],
                     "layers": [{"layer": "good", "convolution": 1, "shape": [8, 4, 4], "cosine": 0.9999,
                                 "snr_db": 40.0, "saturated": 0},
                                {"layer": "bad", "shape": [8, 4, 4], "cosine": 0.9, "snr_db": 7.0, "saturated": 0.2},
                                {"layer": "same", "shape": [8, 4, 4], "cosine": 1.0, "snr_db": None, "saturated": 0}],
                     "layer_images": 64, "newly_wrong": 2, "newly_right": 1,
                     "kmodel_against_float": {"cosine": 0.999, "snr_db": None, "same_class": 0.97}},
    },
    verdict=VERDICT,
    provenance={"nncase": "1.9.0.20230322", "recipe's checksum": "a" * 64},
    settings="seed: 0\n",
    before=before(),
    after=after(),
    pictures=(picture(0), picture(1)),
)  # fmt: skip
