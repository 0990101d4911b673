"""The zoo's table: which network has what the KPU cannot run, and how its training went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "1×3, 3×1, 2×2, 1×2 kernels": ("paddings", "inception"),
    "Relu and ReLU6 after conv, Clip placement, activation before and behind a pool, Dropout": (
        "mobile",
        "paddings",
        "large-kernels",
        "wide",
        "inception",
    ),
    "BatchNorm after conv, before conv, standing alone; mean/std normalisation": ("dense", "paddings", "residual"),
    "depthwise with multiplier": ("mobile",),
    "stride-2 depthwise": ("mobile", "mobile-large", "shuffled", "swish"),
    "valid, TF-SAME, asymmetric padding": ("paddings",),
    "residual Add after ReLU (identity; 1×1 of stride 2)": ("residual", "shuffled"),
    "concat of few channels feeding a conv": ("dense", "inception", "hourglass"),
    "dense 4×4 … 11×11": ("large-kernels", "inception"),
    "depthwise 5×5, 7×7, 9×9": ("mobile-large",),
    "dilated 3×3": ("dilated",),
    "grouped conv, channel shuffle": ("shuffled",),
    "stride 3, 4; (2,1)": ("dilated", "large-kernels", "paddings"),
    "max/avg pool 3×3 s2, s1; global pool": ("inception", "shuffled", "large-kernels"),
    "PReLU, SiLU, HardSwish, GELU, Mish, sigmoid gates": ("dilated", "swish", "mobile-large", "hourglass"),
    "squeeze-and-excitation": ("mobile-large", "swish"),
    "ConvTranspose 2×2, 4×4": ("hourglass",),
    "fully connected with K > 1024; C > 1024": ("products", "large-kernels", "mobile"),
    "3×3 with more than 64 weight loads": ("wide",),
}
"""By row of the table of replacements, the networks that have it."""


def report(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown page on the networks that are trained."""
    lines = [
        "# The zoo: small trained networks that the KPU cannot run",
        "",
        "Made by `python -m benchmarks.zoo`, one thread. Each was trained in cycles until one of them gained less",
        "than 0.3 points of validation accuracy; one that had not got there when its cycles ended is marked *not yet*.",
        "Commands and every epoch are in `zoo/results.json`; seconds are of a machine that others used as well.",
        "",
        "| network | data | parameters | epochs | seconds | gain of the last cycle | validation | test | has |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        gain = entry["gain_of_last_cycle"]
        gained = "–" if gain is None else f"{100 * gain:+.2f}" + ("" if entry["converged"] else ", *not yet*")
        lines.append(
            f"| `{name}` | {entry['data']} | {entry['parameters']:,} | {entry['epochs']} | {entry['seconds']} "
            f"| {gained} | {entry['validation_accuracy']:.2%} "
            f"| {entry['test_accuracy']:.2%} | {'; '.join(entry['covers'])} |"
        )
    lines += ["", "| what the KPU cannot run | trained networks that have it |", "|---|---|"]
    for row, names in ROWS.items():
        lines.append(f"| {row} | {', '.join(f'`{name}`' for name in names if name in results) or 'none yet'} |")
    return "\n".join(lines) + "\n"
