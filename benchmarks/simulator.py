"""Images a second: our simulator against nncase 1.9's, on the same cores.

``python -m benchmarks.simulator [--json] [--again]``. Both run the same kmodel v5 on the same images, in turn, several
rounds; nncase in as many processes as there are cores, ours in as many threads, at batch 32. A result counts only where
the outputs are equal bit for bit. "Bare convolutions" is what torch's float32 convolutions alone would allow: the same
layers, at the resolution that is needed, without batch-norm, activation and pool.

Measured networks are kept in out/benchmarks/simulator.json, by the simulator's source and the machine: an interrupted
run goes on where it stopped, and ``--again`` measures anew. The table is written to benchmarks/simulator.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from benchmarks._simulator_networks import NETWORKS
from pipeline.compiler.compile import compile_network
from pipeline.compiler.environment import find_nncase
from pipeline.files import write_text
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import Program, prepare, run_program
from pipeline.network.contract import InputContract

Images = npt.NDArray[np.uint8]
ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "out/benchmarks/simulator.json"
TABLE: Final = ROOT / "benchmarks/simulator.md"
SOURCES: Final = (ROOT / "pipeline/kpu/simulate.py", *sorted((ROOT / "pipeline/kpu/simulator").glob("*.py")))
BATCH: Final = 32
ROUNDS: Final = 5
BARE_TRIES: Final = 3
"""The best of these counts: a convolution's first call also plans it."""
NNCASE_SECONDS: Final = 3.0
"""About how long nncase's processes run a round; the slowest network still gets one image each."""


def main() -> None:
    """Measure what is not known yet, write the table, print it or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    options = parser.parse_args()
    python = find_nncase(ROOT)
    kept: dict[str, Any] = {} if options.again or not RESULTS.is_file() else json.loads(RESULTS.read_text())
    known = kept.setdefault(_key(), {})
    for name in NETWORKS:
        if name not in known:
            known[name] = measure(name, python)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            write_text(RESULTS, json.dumps(kept, indent=1))
    results = [known[name] for name in NETWORKS]
    table = _table(results)
    write_text(TABLE, table)
    if options.json:
        print(json.dumps({"benchmark": "simulator", "machine": _machine(), "results": results}))
    else:
        print(table)


def measure(name: str, python: Path) -> dict[str, Any]:
    """Return one network's figures.

    Raises:
        RuntimeError: the two simulators disagree.
    """
    network, image = NETWORKS[name]()
    cores = len(os.sched_getaffinity(0))
    images = np.random.default_rng(1).integers(0, 256, (BATCH, *image), dtype=np.uint8)
    contract = InputContract(image=image, mean=(0.0,) * image[0], std=(1.0,) * image[0])
    compiled = compile_network(network, "onnx", images[:8], contract, nncase_python=python, where=name)
    kmodel = read(compiled.kmodel)
    program = prepare(kmodel)
    ours = run_program(program, images)[0]  # compiles, too
    _, first_seconds = run_nncase(compiled.kmodel, images[:cores], python, cores)
    a_round = max(1, min(BATCH // cores, round(NNCASE_SECONDS / first_seconds))) * cores
    nncase_rates, rates, bare_rates = [], [], []
    for _ in range(ROUNDS):
        outputs, seconds = run_nncase(compiled.kmodel, images[:a_round], python, cores)
        if not np.array_equal(outputs, ours[:a_round]):
            raise RuntimeError(f"{name}: the simulators disagree")
        nncase_rates.append(a_round / seconds)
        rates.append(_our_rate(program, images, seconds))
        bare_rates.append(BATCH / _bare_seconds(kmodel, cores))
    return {
        "network": name,
        "ours_images_per_s": round(statistics.median(rates), 1),
        "nncase_images_per_s": round(statistics.median(nncase_rates), 2),
        "ratio": round(statistics.median(o / n for o, n in zip(rates, nncase_rates, strict=True)), 1),
        "bare_convolutions_images_per_s": round(statistics.median(bare_rates), 1),
    }


def run_nncase(kmodel: bytes, images: Images, python: Path, processes: int) -> tuple[npt.NDArray[Any], float]:
    """Return the outputs, and the seconds of the slowest process for its share of the images, without its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "kmodel").write_bytes(kmodel)
        started = []
        for index, share in enumerate(np.array_split(images, processes)):
            np.save(place / f"images{index}.npy", share)
            files = [str(place / name) for name in ("kmodel", f"images{index}.npy", f"outputs{index}.npy")]
            command = [str(python), str(ROOT / "benchmarks/_simulator_nncase.py"), *files]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for child in started:
            _read_line(child)
        for child in started:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        seconds = max(float(_read_line(child)) for child in started)
        for child in started:
            child.communicate()
        outputs = [np.load(place / f"outputs{index}.npy", allow_pickle=False) for index in range(processes)]
        return np.concatenate(outputs), seconds


def _read_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"nncase's process ended with {child.wait()}")
    return line


def _our_rate(program: Program, images: Images, seconds: float) -> float:
    """Return images a second over as many batches as fill about the time that nncase had, at least three."""
    begun, done = time.perf_counter(), 0
    while done < 3 * len(images) or time.perf_counter() - begun < min(seconds, NNCASE_SECONDS):
        run_program(program, images)
        done += len(images)
    return done / (time.perf_counter() - begun)


def _bare_seconds(kmodel: Kmodel, threads: int) -> float:
    """Return the seconds of a batch's float32 convolutions, each layer's best, all added."""
    torch.set_num_threads(threads)
    total = 0.0
    with torch.inference_mode():
        for conv in kmodel.convolutions:
            registers = conv.registers
            step = registers.pool.stride if registers.pool.name.startswith(("LEFT", "RIGHT")) else 1
            x = torch.rand(BATCH, registers.in_channels, registers.in_height, registers.in_width)
            shape = (registers.out_channels, *conv.weight_shape[1:]) if not registers.depthwise else None
            weights = torch.rand(shape or (registers.out_channels, 1, registers.kernel, registers.kernel))
            groups = registers.in_channels if registers.depthwise else 1
            times = []
            for _ in range(BARE_TRIES):
                begun = time.perf_counter()
                functional.conv2d(x, weights, stride=step, padding=registers.kernel // 2, groups=groups)
                times.append(time.perf_counter() - begun)
            total += min(times)
    return total


def _key() -> str:
    """Return what the results depend on: the machine and the simulator's source."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (*SOURCES, Path(__file__))))
    return f"{_machine()} {digest.hexdigest()[:16]}"


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def _table(results: list[dict[str, Any]]) -> str:
    rows = [
        f"| {r['network']} | {r['ours_images_per_s']} | {r['nncase_images_per_s']} | {r['ratio']} | "
        f"{r['bare_convolutions_images_per_s']} |"
        for r in results
    ]
    return "\n".join(
        [
            "# The simulator against nncase's",
            "",
            f"Images a second; outputs equal bit for bit. {_machine()}, batch {BATCH}, medians of {ROUNDS} rounds.",
            "Made by `python -m benchmarks.simulator`.",
            "",
            "| network | ours | nncase 1.9's Simulator | ratio | torch's bare float32 convolutions |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
