"""convert: the network as a kmodel of the newest version that the firmware loads, by nncase 1.9 and from its v5."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.compiler.build import build_kmodel
from pipeline.compiler.environment import find_nncase
from pipeline.firmware.calls import set_outputs_calls
from pipeline.firmware.facts import facts_of
from pipeline.kmodel.read import read
from pipeline.network.contract import read_contract
from pipeline.network.read import load_onnx
from pipeline.stages.layout import Run
from pipeline.stages.target import target_profile, target_version
from pipeline.training.data.load import load_calibration


def run(run: Run) -> int:
    """Write ``network.kmodel``, the v5 that nncase wrote, and its log; the figures are read from the file."""
    recipe = run.recipe
    onnx_path = run.made_by("replace", "network.onnx")
    contract = read_contract(load_onnx(onnx_path), where=str(onnx_path))
    images = run.chosen().quantise.calibration.images
    tflite = run.made_by("quantise", "network.tflite")
    built = build_kmodel(
        tflite.read_bytes(),
        load_calibration(recipe.data, recipe.seed, run.root, images),
        contract,
        target_version(run),
        nncase_python=find_nncase(run.root),
        where=str(tflite),
    )
    kmodel = read(built.kmodel)
    facts = facts_of(kmodel)
    run.write_results(
        "convert",
        files={"network.kmodel": built.kmodel, "nncase.kmodel": built.v5, "compiler.log": built.log},
        metrics={
            "kmodel_bytes": facts.kmodel_bytes,
            "heap_bytes": facts.heap_bytes,
            "kpu_bytes": facts.kpu_bytes,
            "cpu_convolutions": len(facts.cpu_convolutions),
            "latency_ms": facts.latency_ms or 0.0,
        },
        report={
            "kmodel_version": facts.version,
            "notes": list(built.notes),
            "calls": set_outputs_calls(kmodel, target_profile(run)),
            "calibration_images": images,
            "input_range": list(contract.input_range),
            "layers": [asdict(layer) for layer in facts.layers],
            "cpu_ops": list(facts.cpu_ops),
        },
    )
    return 0
