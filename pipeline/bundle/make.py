"""From recipes to a folder: read, judge, place, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bundle.build import bundle_files
from pipeline.bundle.contents import Bundle, summary
from pipeline.bundle.folder import with_sums, write_folder
from pipeline.bundle.member import make_member, recorded_verdict
from pipeline.bundle.target import Load, bundle_firmware, bundle_target
from pipeline.errors import FirmwareError, RecipeError
from pipeline.firmware.flash import flash_layout
from pipeline.firmware.gate import judge_together
from pipeline.firmware.profile import load_profile, profiles
from pipeline.report.verdict import verdict_lines
from pipeline.stages.layout import Run, open_run


@dataclass(frozen=True)
class Rejected:
    """Why there is no bundle.

    Attributes:
        verdicts: of each recipe that was rejected, as JSON values.
        lines: the same for people.
    """

    verdicts: dict[str, Any]
    lines: tuple[str, ...]


def make_bundle(
    root: Path,
    recipes: Sequence[str],
    folder: Path,
    *,
    firmware: str | None = None,
    load: Load | None = None,
    address: int | None = None,
    firmware_file: Path | None = None,
) -> dict[str, Any] | Rejected:
    """Write a bundle and return what its ``bundle.json`` says, or why it was rejected.

    Args:
        root: the project's folder.
        recipes: names or paths, each once.
        folder: where to; an earlier bundle there is replaced.
        firmware: whose profile; None: the recipes'.
        load: where models are loaded from; None: as the recipes say.
        address: where in flash the first model goes; None: where the firmware's convention starts.
        firmware_file: the firmware's own file, to be flashed with the models.

    Raises:
        RecipeError: no such recipe, one twice, or recipes that want different programs.
        FirmwareError: no such firmware, or an overlap in flash.
        StorageError: a recipe has not run to the end, or the folder cannot be written.
        KmodelError: a kmodel cannot be carried over to the firmware's version.
        DataError: a recipe's data is missing.
    """
    runs = [open_run(root, name) for name in recipes]
    names = [run.name for run in runs]
    if len(set(names)) != len(names):
        raise RecipeError(
            "is given twice", where=next(name for name in names if names.count(name) > 1), remedy="give it once"
        )
    profile = load_profile(bundle_firmware(runs, firmware), root)
    target = bundle_target(runs, profile, load)
    if rejected := _rejected_runs(runs):
        return rejected
    known = profiles(root)
    members = tuple(make_member(run, profile, target, known) for run in runs)
    refused = [member for member in members if not member.verdict.accepted]
    if refused:
        lines: list[str] = []
        for member in refused:
            lines += [f"{member.name} is rejected for {profile.name}", *verdict_lines(member.verdict.failures)]
        return Rejected({member.name: member.verdict.to_json() for member in refused}, tuple(lines))
    program = None if firmware_file is None else _read_firmware(firmware_file)
    several = len(members) > 1
    bundle = Bundle(
        members=members,
        profile=profile,
        target=target,
        together=judge_together([each.verdict.facts for each in members], profile, target) if several else None,
        layout=flash_layout(
            profile,
            [(member.name, len(member.content)) for member in members],
            start=address,
            firmware_bytes=None if program is None else len(program),
        ),
        firmware=program,
    )
    write_folder(folder, with_sums(bundle_files(bundle)))
    return summary(bundle)


def _rejected_runs(runs: Sequence[Run]) -> Rejected | None:
    """The recipes that their own gate rejected."""
    verdicts = {run.name: recorded_verdict(run) for run in runs}
    rejected = {name: verdict for name, verdict in verdicts.items() if not verdict["accepted"]}
    lines: list[str] = []
    for name, verdict in rejected.items():
        lines.append(f"{name} was rejected for {verdict['firmware']} by its own gate: nothing is bundled")
        for check in (check for check in verdict["checks"] if not check["ok"]):
            lines.append(f"  {check['name']}: {check['message']}")
            lines += [f"    remedy {number}: {remedy}" for number, remedy in enumerate(check["remedies"], 1)]
    return Rejected(rejected, tuple(lines)) if rejected else None


def _read_firmware(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FirmwareError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="give the firmware's .bin"
        ) from error
