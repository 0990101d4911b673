"""A checked network as JSON, as tables for the terminal, and as a summary in lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.firmware.predicted import Answer
from pipeline.kpu import limits
from pipeline.kpu.check import Checked
from pipeline.kpu.latency import KPU_CLOCK_HZ
from pipeline.kpu.prediction import Prediction
from pipeline.kpu.rules.rule import SEVERITIES
from pipeline.report.check_rows import Group, Row, finding_groups, layer_rows, printable, shape_text
from pipeline.report.text import count
from pipeline.report.timeline import highest, kpu_timelines
from pipeline.report.verdict import verdict_lines

SURENESS = {
    "measured size": "maps of sizes that were measured",
    "extrapolated": "extrapolated from the 3×3 layers that were measured",
    "tiled": "too low: some layers do not fit the KPU's memory in one piece",
}
"""What each confidence of a latency means, in a few words."""

_SEVERITY_STYLES = {
    "wrong-numbers": "bold red",
    "does-not-compile": "bold red",
    "may-not-run": "red",
    "cpu": "yellow",
    "memory": "magenta",
}
_NAMED = 3
"""Layers of a group that are named in the terminal."""


def check_json(answer: Answer, name: str) -> dict[str, Any]:
    """Return the stable form that other programs read; with several firmwares, a prediction for each besides."""
    checked, verdicts = answer.checked, answer.verdicts
    values: dict[str, Any] = {
        "network": name,
        "layers": [
            {
                "name": layer.name,
                "op": layer.op,
                "unit": layer.unit,
                "kpu_bytes": layer.kpu_bytes,
                "weight_bytes": layer.weight_bytes,
                "cycles": layer.cycles,
                "weight_loads": layer.weight_loads,
                "cpu_ops": list(layer.cpu_ops),
            }
            for layer in checked.prediction.layers
        ],
        "findings": [finding.to_json() for finding in checked.findings],
        "fitting_input": fitting_json(checked),
        "head": [layer.name for layer in checked.network.layers if layer.name in checked.head],
        **_predicted_json(checked.prediction),
        "firmware": answer.asked or None,
        "fits": answer.fits,
    }
    if answer.asked == "all":
        values["firmwares"] = {
            firmware: {
                **_predicted_json(answer.predictions[verdict.facts.version]),
                "fits": verdict.accepted,
                "failed": [check.to_json() for check in verdict.failures],
            }
            for firmware, verdict in verdicts.items()
        }
    else:
        values["failed"] = [check.to_json() for verdict in verdicts.values() for check in verdict.failures]
    return values


def layers_table(checked: Checked) -> Table:
    """Return a row a layer that does work; what nncase runs along with it is in its row."""
    table = Table(title="layers", title_justify="left")
    table.add_column("layer", overflow="fold", min_width=12)
    table.add_column("operator", overflow="fold", min_width=16)
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("unit", overflow="fold")
    for heading in ("KPU bytes", "weight bytes", "loads", "µs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for row in layer_rows(checked):
        table.add_row(
            Text(printable(row.name)),
            Text(row.operator),
            shape_text(row.out_shape),
            Text(row.unit, style="green" if row.unit == "KPU" else "" if row.head or row.unit == "–" else "yellow"),
            count(row.kpu_bytes) if row.kpu_bytes else "",
            count(row.weight_bytes) if row.weight_bytes else "",
            str(row.loads or ""),
            microseconds(row),
            Text(row.mark, style=_SEVERITY_STYLES.get(row.worst, "")),
        )
    return table


def findings_table(checked: Checked) -> Table:
    """Return a row a rule that is broken: where, what was seen, what holds, why it matters, and what would mend it."""
    table = Table(title="findings", title_justify="left", show_lines=True)
    table.add_column("finding", max_width=22, overflow="fold")
    table.add_column("where and what", max_width=34, overflow="fold")
    table.add_column("limit", max_width=18, overflow="fold")
    table.add_column("why", overflow="fold")
    table.add_column("what would mend it", overflow="fold")
    for group in finding_groups(checked.findings):
        table.add_row(
            Text.assemble((group.severity, _SEVERITY_STYLES.get(group.severity, "")), f"\n{group.rule}"),
            Text("\n".join(_seen(group))),
            Text(group.limit),
            Text(group.why),
            Text(group.replacement or "nothing is known"),
        )
    return table


def summary_lines(answer: Answer, name: str) -> list[str]:
    """Return what the kmodel will need, how long the KPU will take, what was found, and which firmware can hold it."""
    return [printable(line) for line in _summary(answer, name)]


def headline(answer: Answer) -> str:
    """Return the answer in a few words."""
    prediction, verdicts = answer.checked.prediction, answer.verdicts
    fitting = [firmware for firmware, verdict in verdicts.items() if verdict.accepted]
    if not prediction.compiles:
        said = "does not compile"
    elif not verdicts:
        said = "compiles"
    elif len(verdicts) > 1:
        said = f"fits {len(fitting)} of {len(verdicts)} firmwares"
    else:
        said = f"{'fits' if fitting else 'does not fit'} {answer.asked}"
    return said if answer.clean or not answer.fits else f"{said}, but see the findings"


def why_not_compiled(prediction: Prediction) -> list[str]:
    """Return why there will be no kmodel; nothing where there will be one."""
    reasons = [
        printable(f"nncase 1.9 refuses {refusal.layer} ({refusal.op}): {refusal.why}")
        for refusal in prediction.refusals
    ]
    over = prediction.kpu_bytes - limits.KPU_MEMORY_BYTES
    return reasons + (
        [f"nncase 1.9 refuses it: feature maps are {over:,} bytes over the KPU's 2 MiB"] if over > 0 else []
    )


def size_lines(checked: Checked) -> list[str]:
    """Return which smaller image would fit the KPU's memory; nothing where the network's own does."""
    if checked.prediction.kpu_bytes <= limits.KPU_MEMORY_BYTES:
        return []
    fitting = checked.fitting
    if fitting is None:
        return ["no smaller image would fit: the network has but one size, or its channels alone are too many"]
    said = f"an image of {fitting.height}×{fitting.width} (height × width) would fit"
    if fitting.trained_anew:
        layers = ", ".join(map(printable, fitting.trained_anew))
        said += f"; {layers} would read another number of values then, and must be trained anew"
    return [said]


def fitting_json(checked: Checked) -> dict[str, Any] | None:
    """Return the smaller image whose maps would fit; None where the network's own do, or none does."""
    fitting = checked.fitting
    if fitting is None:
        return None
    return {"height": fitting.height, "width": fitting.width, "trained_anew": list(fitting.trained_anew)}


def latency_lines(checked: Checked) -> list[str]:
    """Return how long the KPU takes and how sure that is; nothing where nothing runs on it."""
    predicted = checked.prediction.latency
    if predicted is None:
        return []
    left_out = sorted({op.kind for op in checked.prediction.program.cpu_ops})
    clock, sureness = KPU_CLOCK_HZ // 1_000_000, SURENESS[predicted.confidence]
    said = f"{predicted.milliseconds():.1f} ms of the KPU at {clock} MHz ({sureness})"
    return [f"{said}, without the CPU's operators ({', '.join(left_out)})" if left_out else said]


def severities(checked: Checked) -> str:
    """Return how many findings there are of each severity, the worst first; "" without any."""
    times = Counter(finding.severity for finding in checked.findings)
    return ", ".join(f"{times[severity]} {severity}" for severity in SEVERITIES if times[severity])


def microseconds(row: Row) -> str:
    """Return how long the KPU takes for a row; "" off it."""
    return count(round(row.cycles * 1e6 / KPU_CLOCK_HZ)) if row.cycles is not None else ""


def _summary(answer: Answer, name: str) -> list[str]:
    checked = answer.checked
    prediction = checked.prediction
    lines = [f"{name}: {headline(answer)}"]
    if prediction.compiles:
        lines.append(
            f"  kmodel v{prediction.version}: {prediction.kmodel_bytes:,} bytes predicted, and "
            f"{prediction.heap_bytes:,} of main memory beside it"
        )
    lines += [f"  {reason}" for reason in why_not_compiled(prediction)]
    lines.append(f"  KPU memory: needs {prediction.kpu_bytes:,} of {limits.KPU_MEMORY_BYTES:,} bytes")
    lines += [f"    {line}" for line in size_lines(checked)]
    full = highest(kpu_timelines(checked))
    lines += [f"    {sentence}" for sentence in full.sentences] if full else []
    lines += [f"  latency: {line}" for line in latency_lines(checked)]
    lines += [f"  findings: {found}" for found in [severities(checked)] if found]
    if not answer.verdicts:
        return [*lines, "  no firmware was asked for: --firmware NAME or --firmware all says where it fits"]
    for firmware, verdict in answer.verdicts.items():
        version = f"kmodel v{verdict.facts.version}"
        if len(answer.verdicts) == 1:
            lines += [f"  {firmware} ({version}): {'fits' if verdict.accepted else 'does not fit'}"]
            lines += [f"  {line}" for line in verdict_lines(verdict.failures)]
        else:
            lines.append(f"  {'ok  ' if verdict.accepted else 'FAIL'} {firmware} ({version})")
            lines += [f"         {check.name}: {check.message}" for check in verdict.failures]
    return lines


def _predicted_json(prediction: Prediction) -> dict[str, Any]:
    compiles, time = prediction.compiles, prediction.latency
    return {
        "kmodel_version": prediction.version,
        "compiles": compiles,
        "predicted": {
            "kmodel_bytes": prediction.kmodel_bytes if compiles else None,
            "heap_bytes": prediction.heap_bytes if compiles else None,
            "kpu_bytes": prediction.kpu_bytes,
            "latency_ms": time.milliseconds() if time else None,
        },
        "latency_confidence": time.confidence if time else None,
    }


def _seen(group: Group) -> list[str]:
    """The first few things that were seen, each with the first few layers."""
    lines = [f"{_first(layers)}: {what}" for what, layers in group.seen[:_NAMED]]
    rest = sum(len(layers) for _, layers in group.seen[_NAMED:])
    return [printable(line) for line in lines] + ([f"… and {rest} more ({group.count} in all)"] if rest else [])


def _first(layers: Sequence[str]) -> str:
    named = ", ".join(layers[:_NAMED])
    return f"{named} … ({len(layers)} layers)" if len(layers) > _NAMED else named
