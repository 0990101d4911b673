"""convert: the network as a kmodel, by nncase 1.9 in a process of its own; its figures are read from the file."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.compiler.compile import compile_network
from pipeline.compiler.environment import find_nncase
from pipeline.files import write_bytes, write_text
from pipeline.firmware.facts import facts_of
from pipeline.kmodel.read import read
from pipeline.network.contract import read_contract
from pipeline.network.read import load_onnx
from pipeline.stages.layout import Run
from pipeline.training.data.load import load_calibration


def run(run: Run) -> int:
    """Write ``network.kmodel`` and the compiler's log."""
    recipe = run.recipe
    onnx_path = run.file("replace", "network.onnx")
    contract = read_contract(load_onnx(onnx_path), where=str(onnx_path))
    images = run.chosen().quantise.calibration.images
    tflite = run.file("quantise", "network.tflite")
    compiled = compile_network(
        tflite.read_bytes(),
        "tflite",
        load_calibration(recipe.data, recipe.seed, run.root, images),
        contract,
        nncase_python=find_nncase(run.root),
        where=str(tflite),
    )
    facts = facts_of(read(compiled.kmodel))
    write_bytes(run.file("convert", "network.kmodel"), compiled.kmodel)
    write_text(run.file("convert", "compiler.log"), compiled.log)
    run.write_results(
        "convert",
        metrics={
            "kmodel_bytes": facts.kmodel_bytes,
            "heap_bytes": facts.heap_bytes,
            "kpu_bytes": facts.kpu_bytes,
            "cpu_convolutions": len(facts.cpu_convolutions),
        },
        report={
            "kmodel_version": facts.version,
            "calibration_images": images,
            "input_range": list(contract.input_range),
            "layers": [asdict(layer) for layer in facts.layers],
            "cpu_ops": list(facts.cpu_ops),
        },
    )
    return 0
