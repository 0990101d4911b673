"""``kpufit plan``: what a run would do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json, RecipeName
from pipeline.cli.output import console, print_json
from pipeline.errors import EXIT_ACCEPTED, EXIT_REJECTED


def plan(
    recipe: RecipeName,
    trust: Annotated[
        bool, typer.Option("--trust", help="Allow a recipe with `model: {source: torch}` to run its Python code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a run would do and why, and predict sizes before anything is trained. No stage is run.

    The network is judged as it is given, replaced, and pruned as the recipe asks; a network of the zoo is built
    untrained, as sizes do not depend on weights. Exit code 0 when the last of these fits the recipe's firmware, 1 when
    not.

    Examples:
        kpufit plan fashion-mnist-mini
        kpufit plan recipes/fashion-mnist-mini.yaml --json

    """
    from pipeline.progress import busy
    from pipeline.report.check import check_json, findings_table, headline
    from pipeline.report.verdict import verdict_lines
    from pipeline.stages.layout import open_run
    from pipeline.stages.repro import listed_recipes

    run = open_run(Path.cwd(), recipe)
    listed = run.name in listed_recipes(run.root)
    with busy("asking DVC what changed"):
        from pipeline.project.plan import predictions, stage_plans  # imports PyTorch

        stages = stage_plans(run) if listed else []
    with busy("predicting sizes"):
        answers = predictions(run, trust=trust)
    *_, last = answers.values()
    if as_json:
        networks = {title: check_json(answer, run.name) for title, answer in answers.items()}
        print_json({"recipe": run.name, "listed": listed, "stages": [asdict(stage) for stage in stages],
                    "networks": networks, "fits": last.clean})  # fmt: skip
        raise typer.Exit(EXIT_ACCEPTED if last.clean else EXIT_REJECTED)
    for stage in stages:
        more = f" and {len(stage.why) - 2} more" if len(stage.why) > 2 else ""
        print(f"{stage.stage:9} {stage.runs:8} {'; '.join(stage.why[:2])}{more}".rstrip())
    if not listed:
        print(f"{run.name} is not listed in params.yaml: `kpufit add {run.name}`, then every stage runs")
    for title, answer in answers.items():
        seen = answer.checked.prediction
        time = f", {seen.latency.milliseconds():.1f} ms of the KPU" if seen.latency else ""
        print(f"\n{title}: {headline(answer)}")
        print(f"  {seen.kmodel_bytes:,} bytes of kmodel v{seen.version}, {seen.heap_bytes:,} of heap, "
              f"{seen.kpu_bytes:,} of KPU memory{time}")  # fmt: skip
    if last.checked.findings:
        console().print(findings_table(last.checked))
    print(f"\nverdict for {last.asked}, predicted, accuracy apart:")
    print("\n".join(line for verdict in last.verdicts.values() for line in verdict_lines(verdict.checks)))
    raise typer.Exit(EXIT_ACCEPTED if last.clean else EXIT_REJECTED)
