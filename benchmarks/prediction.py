"""What a kmodel is predicted to need, against what nncase 1.9 really makes: bytes, heap, KPU memory, whether it fits.

``python -m benchmarks.prediction [--json] [--only NAME…]``. nncase's compiles are kept in benchmarks/.cache (see
``_prediction_compile``), so that an interrupted run goes on where it stopped and another prediction is compared in
seconds. The table is written to benchmarks/prediction.md, unless only some networks are asked for. Exit code 1: a
criterion fails; 2: nncase is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

import onnx

from benchmarks._prediction_compile import Compiled, compiled
from benchmarks._prediction_networks import absent, networks
from benchmarks._prediction_report import Row, failures, table
from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED, KpufitError, NetworkError
from pipeline.files import write_text
from pipeline.kmodel.moving import Dequantise, Quantise
from pipeline.kmodel.read import read
from pipeline.kpu.prediction import predict

ROOT: Final = Path(__file__).resolve().parents[1]
TABLE: Final = ROOT / "benchmarks/prediction.md"


def main() -> int:
    """Compile what is not known yet, predict everything, write the table, print it or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="these networks alone; writes no table")
    options = parser.parse_args()
    known = networks()
    unknown = set(options.only) - set(known)
    if unknown:
        parser.error(f"no network {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    rows = [measured(compiled(name, known[name])) for name in options.only or known]
    text = table(rows, _machine(), absent())
    if not options.only:
        write_text(TABLE, text)
    if options.json:
        print(
            json.dumps({"benchmark": "prediction", "machine": _machine(), "results": [row.as_json() for row in rows]})
        )
    else:
        print(text)
    return EXIT_REJECTED if failures(rows) else EXIT_ACCEPTED


def measured(network: Compiled) -> Row:
    """Return a network's prediction beside what nncase made of it."""
    model = onnx.load(network.onnx)
    begun = time.perf_counter()
    problem: str | None = None
    compiles: bool | None = None
    kmodel_bytes: int | None = None
    heap_bytes: int | None = None
    kpu_bytes: int | None = None
    try:
        compiles, kmodel_bytes, heap_bytes, kpu_bytes = _predicted(model)
    except NetworkError as error:
        problem = str(error).splitlines()[0]
    check_s = time.perf_counter() - begun
    row = Row(
        network.name, network.fits, network.message, compiles, kmodel_bytes, heap_bytes, kpu_bytes, problem,
        check_s, network.seconds,
    )  # fmt: skip
    if network.kmodel is None:
        return row
    kmodel = read(network.kmodel.read_bytes(), where=network.name)
    return row.with_kmodel(
        kmodel.sizes.total,
        kmodel.heap_bytes,
        kmodel.kpu_bytes,
        all_kpu=all(isinstance(step, (Quantise, Dequantise)) for step in kmodel.cpu_steps),
    )


def _predicted(model: onnx.ModelProto) -> tuple[bool, int, int, int]:
    """Return whether the network compiles, and the bytes of its kmodel, of its heap and of its KPU memory."""
    prediction = predict(model, 5, prepared=False)  # nncase is given the same file
    return prediction.compiles, prediction.kmodel_bytes, prediction.heap_bytes, prediction.kpu_bytes


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KpufitError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_ERROR)
