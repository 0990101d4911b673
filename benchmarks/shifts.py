"""What a cap on activation shifts costs in accuracy; nncase 0.2, for which v4 was made, wrote shifts up to 20.

Takes the v5 that a recipe's ``convert`` stage left in ``out/``, carries it over to v4 with each cap, and measures the
accuracy on the recipe's validation images with the bit-exact simulator.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compiler.tflite_head import tflite_head
from pipeline.errors import KmodelError
from pipeline.evaluation.metrics import judge
from pipeline.files import write_text
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kpu.simulate import simulate
from pipeline.stages.layout import open_run
from pipeline.training.data.load import load_training

ROOT = Path(__file__).parents[1]
CAPS = (None, 32, 24, 20, 16, 12)


def measure(recipe: str) -> list[dict[str, Any]]:
    """Return the validation accuracy of a recipe's kmodel as v4 for every cap. Raises KpufitError."""
    run = open_run(ROOT, recipe)
    v5 = read(run.made_by("convert", "nncase.kmodel").read_bytes())
    head = tflite_head(run.made_by("quantise", "network.tflite").read_bytes())
    validation = load_training(run.recipe.data, run.recipe.seed, ROOT).validation
    rows = []
    for cap in CAPS:
        try:
            carried = transcode(v5, 4, head=head, float_output=True, max_shift=cap)
        except KmodelError as error:
            rows.append({"recipe": recipe, "max_shift": cap, "accuracy": None, "refused": error.what})
            continue
        scores = simulate(carried, validation.images)[0].astype(np.float32).reshape(len(validation), -1)
        largest = max(int(conv.activation.shift.max()) for conv in carried.convolutions)
        accuracy = judge(scores, validation.labels).accuracy
        rows.append({"recipe": recipe, "max_shift": cap, "largest_shift": largest, "accuracy": accuracy})
    return rows


def main() -> None:
    """Print the table, or JSON, and write ``shifts.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=["fashion-mnist-mini"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [row for recipe in arguments.recipes for row in measure(recipe)]
    lines = [
        "# What a cap on activation shifts costs",
        "",
        "Validation accuracy of the kmodel as v4, bit for bit. Made by `make && python -m benchmarks.shifts`.",
        "",
        "| recipe | cap | largest shift | accuracy |",
        "|---|---|---|---|",
    ]
    for row in results:
        accuracy = "refused" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        lines.append(
            f"| {row['recipe']} | {row['max_shift'] or 'none'} | {row.get('largest_shift', '–')} | {accuracy} |"
        )
    write_text(ROOT / "benchmarks" / "shifts.md", "\n".join(lines) + "\n")
    if arguments.json:
        print(
            json.dumps(
                {"benchmark": "shifts", "machine": platform.processor() or platform.machine(), "results": results}
            )
        )
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
