"""The prediction against what nncase really compiles."""

from __future__ import annotations

import json
import struct
import subprocess
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import onnx
import pytest
from prediction_networks import ALL_KPU, WITH_CPU

from pipeline.kmodel.read import read
from pipeline.kpu.prediction import predict

PYTHON = Path(__file__).parents[2] / ".venv-nncase" / "bin" / "python"

# Compiles every network named on stdin; runs in nncase's own environment.
COMPILE = """
import json, sys, numpy, nncase
for job in json.load(sys.stdin):
    options = nncase.CompileOptions()
    options.target, options.preprocess, options.input_type, options.output_type = "k210", True, "uint8", job["output"]
    options.input_shape, options.input_range = [1, *job["image"]], [0.0, 1.0]
    options.mean, options.std = [0.0] * job["image"][0], [1.0] * job["image"][0]
    options.input_layout = options.output_layout = "NCHW"
    compiler = nncase.Compiler(options)
    compiler.import_onnx(open(job["onnx"], "rb").read(), nncase.ImportOptions())
    calibration = nncase.PTQTensorOptions()
    images = numpy.random.default_rng(0).integers(0, 256, (4, *job["image"]), numpy.uint8)
    calibration.set_tensor_data(images.tobytes())
    calibration.samples_count, calibration.calibrate_method = 4, "no_clip"
    compiler.use_ptq(calibration)
    compiler.compile()
    open(job["kmodel"], "wb").write(compiler.gencode_tobytes())
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bytes]:
    """The kmodel of every network, by name and output type."""
    folder = tmp_path_factory.mktemp("prediction")
    jobs = []
    for index, (name, build) in enumerate((ALL_KPU | WITH_CPU).items()):
        net = build()
        path = folder / f"{index}.onnx"
        onnx.save(net.model(), path)
        for output in ("float32", "uint8"):
            kmodel = str(folder / f"{index}-{output}.kmodel")
            jobs.append({"name": name, "onnx": str(path), "image": net.image, "output": output, "kmodel": kmodel})
    subprocess.run(
        [PYTHON, "-c", COMPILE],
        input=json.dumps(jobs),
        text=True,
        check=True,
        timeout=240,
        stdout=subprocess.DEVNULL,
        cwd=Path(jobs[0]["kmodel"]).parent,
    )
    return {(job["name"], job["output"]): Path(job["kmodel"]).read_bytes() for job in jobs}


def heap_of(kmodel: bytes) -> int:
    """The data mempools (place 3) of the two modules (model.h:23-110)."""
    total, at = 0, 32
    for _ in range(struct.unpack_from("<I", kmodel, 20)[0]):
        size, pools = struct.unpack_from("<II", kmodel, at + 24)
        places = [(kmodel[at + 48 + 8 * i], struct.unpack_from("<I", kmodel, at + 52 + 8 * i)[0]) for i in range(pools)]
        total += sum(size for place, size in places if place == 3)
        at += size
    return total


@pytest.mark.nncase
@pytest.mark.parametrize("output", ["float32", "uint8"])
@pytest.mark.parametrize("name", [*ALL_KPU, *WITH_CPU])
def test_bytes_and_heap_are_those_of_nncase(compiled: dict[tuple[str, str], bytes], name: str, output: str) -> None:
    kmodel = compiled[name, output]
    model = (ALL_KPU | WITH_CPU)[name]().model()
    # Random weights do not reach both ends of the Clip, so every other pixel has another range than all of them.
    share = False if name == "depthwise, sliced" else None
    predicted = predict(model, float_output=output == "float32", parts_share=share)
    assert predicted.kmodel_bytes == len(kmodel)
    assert predicted.heap_bytes == heap_of(kmodel)
    by_purpose = Counter[str]()
    for part in predicted.parts:
        by_purpose[part.purpose] += part.size
    assert by_purpose == Counter(asdict(read(kmodel).sizes))


@pytest.mark.nncase
@pytest.mark.parametrize("name", [*ALL_KPU, *WITH_CPU])
def test_kpu_memory_is_that_of_the_registers(compiled: dict[tuple[str, str], bytes], name: str) -> None:
    predicted = predict((ALL_KPU | WITH_CPU)[name]().model())
    assert predicted.kpu_bytes == kpu_peak(compiled[name, "float32"])


def kpu_peak(kmodel: bytes) -> int:
    """The highest byte that an upload or a download touches or a convolution writes.

    Every range of an instruction is 12 bytes: place, type, number, start, size (datatypes.h:407-498). Convolutions say
    in rows of 64 bytes where they write (register 1) and how far (registers 3, 8).
    """
    peak, at = 0, 0
    text, size = k210_text(kmodel)
    while at < size:
        opcode, base = kmodel[text + at], text + at
        if opcode in (0, 1):
            place, start, length = struct.unpack_from("<B3xII", kmodel, base + (16 if opcode == 0 else 4))
            assert place == 64
            peak = max(peak, start + length)
            at += 44
        elif opcode == 2:
            registers = struct.unpack_from("<12Q", kmodel, base + 56)
            rows = (registers[1] >> 32) & 0x7FFF
            channels = (registers[2] >> 32 & 1023) + 1
            group = registers[8] >> 20 & 7
            switch = registers[8] & 0x7FFF
            peak = max(peak, 64 * (rows + switch * -(-channels // group)))
            at += 152
        else:
            at += 76
    return peak


def k210_text(kmodel: bytes) -> tuple[int, int]:
    """Where the k210 module's code is, and its size."""
    (stackvm_size,) = struct.unpack_from("<I", kmodel, 32 + 24)
    start = 32 + stackvm_size
    assert kmodel[start : start + 4] == b"k210"
    header = struct.unpack_from("<8I", kmodel, start + 16)
    at = start + 48 + 8 * header[3] + 8 * header[4]
    for _ in range(header[6]):
        at += struct.unpack_from("<I", kmodel, at + 4)[0]
    for _ in range(header[5]):
        name = kmodel[at : at + 16].rstrip(b"\0")
        _, begin, size, _ = struct.unpack_from("<4I", kmodel, at + 16)
        if name == b".text":
            return at + 32 + begin, size
        at += 32 + begin + size
    raise AssertionError("no code")
