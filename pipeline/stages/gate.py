"""gate: whether the firmware can load and run the kmodel, and whether it is accurate enough. Always exits 0."""

from __future__ import annotations

from pipeline.files import read_json
from pipeline.firmware.facts import facts_of
from pipeline.firmware.gate import judge
from pipeline.firmware.profile import profiles
from pipeline.firmware.verdict import Accuracies
from pipeline.kmodel.read import read
from pipeline.stages.layout import Run
from pipeline.stages.target import target_profile


def run(run: Run) -> int:
    """Write ``verdict.json``; ``accept`` turns it into an exit code, after the report is written."""
    path = run.made_by("convert", "network.kmodel")
    evaluated = read_json(run.made_by("evaluate", "metrics.json"))
    verdict = judge(
        facts_of(read(path.read_bytes(), where=str(path))),
        target_profile(run),
        run.recipe.target,
        run.recipe.gate,
        Accuracies(network=evaluated["float_accuracy"], kmodel=evaluated["kmodel_accuracy"]),
        others=profiles(run.root),
    ).to_json()
    memory = next(check for check in verdict["checks"] if check["name"] == "memory")
    run.write_results(
        "gate",
        files={"verdict.json": verdict},
        metrics={
            "accepted": int(verdict["accepted"]),
            "needed_bytes": memory["needed_bytes"],
            "limit_bytes": memory["limit_bytes"],
            "failed_checks": sum(not check["ok"] for check in verdict["checks"]),
        },
        report={"failed": [check["name"] for check in verdict["checks"] if not check["ok"]]},
    )
    return 0
