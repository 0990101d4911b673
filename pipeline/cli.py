"""The command line: parse, call, print. The work is in the packages, imported only by the command that needs it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.bundle.command import bundle
from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OFF_TERMINAL = 140

app = typer.Typer(
    name="kpufit",
    help=(
        "From a trained image network to the most accurate .kmodel that provably loads and runs on a Kendryte K210.\n\n"
        "Exit codes: 0 accepted or clean, 1 rejected or violations found, 2 bad input or a failed tool."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A name in recipes/, or the path of a YAML file.")]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _console() -> Console:
    """Standard output; off a terminal wide enough that no name is cut short, and without colour."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_OFF_TERMINAL, no_color=True)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check both environments, versions and data, and say how to mend what is missing.

    Exit code 1 when something is missing.
    """
    from pipeline.doctor import diagnose

    findings = diagnose(Path.cwd())
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL"
            print(f"{mark} {finding.name}: {finding.seen}")
            if not finding.ok:
                print(f"     remedy: {finding.remedy}")
    raise typer.Exit(EXIT_ACCEPTED if all(finding.ok for finding in findings) else EXIT_REJECTED)


@app.command()
def run(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE]...", help="Recipes of params.yaml; all of them if none is given."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Allow recipes with `model: {source: torch}` to run their Python code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the pipeline (`dvc repro`) and print what came of it, stage by stage.

    Only what a change touches runs again. Exit code 0 when every recipe was accepted, 1 when one was rejected.
    """
    from pipeline.errors import RecipeError
    from pipeline.stages.manifest import refresh_manifests
    from pipeline.stages.repro import listed_recipes, reproduce

    root = Path.cwd()
    listed = listed_recipes(root)
    names = recipes or listed
    for name in names:
        if name not in listed:
            raise RecipeError("is not listed in params.yaml", where=name, remedy=f"kpufit add {name}")
    refresh_manifests(root, names)
    code = reproduce(root, names, trust=trust)
    if code != EXIT_ERROR:
        _summarise(root, names, as_json)
    raise typer.Exit(code)


@app.command()
def summary(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="All listed ones if none is given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the result of the last run again: a row a stage, and the verdict."""
    from pipeline.stages.repro import listed_recipes

    root = Path.cwd()
    _summarise(root, recipes or listed_recipes(root), as_json)


def _summarise(root: Path, names: list[str], as_json: bool) -> None:
    from pipeline.report.summary import stage_rows, summary_json, summary_table
    from pipeline.stages.layout import open_run
    from pipeline.stages.results import read_results

    rows = {name: stage_rows(read_results(open_run(root, name))) for name in names}
    if as_json:
        _print_json([{"recipe": name, "stages": summary_json(stages)} for name, stages in rows.items()])
        return
    console = _console()
    for name, stages in rows.items():
        console.print(summary_table(stages, name))


@app.command()
def add(recipe: RecipeName, as_json: Json = False) -> None:
    """List a recipe in params.yaml, so that `dvc repro` and `kpufit run` build it."""
    from pipeline.recipe import recipe_path
    from pipeline.stages.repro import add_recipe

    root = Path.cwd()
    name = recipe_path(root, recipe).stem
    added = add_recipe(root, recipe)
    if as_json:
        _print_json({"recipe": name, "added": added})
    else:
        print(f"{name}: {'added to' if added else 'already in'} params.yaml; run it with `kpufit run {name}`")


@app.command()
def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="fashion-mnist or cifar-10.")],
    as_json: Json = False,
) -> None:
    """Fetch a data set into data/cache: checksummed, resumable, from the first source that answers."""
    from pipeline.training.data.fetch import fetch

    folder = fetch(name, Path.cwd())
    if as_json:
        _print_json({"data": name, "folder": str(folder)})
    else:
        print(f"{name}: complete and checked in {folder}")


@app.command()
def firmware(
    name: Annotated[str | None, typer.Argument(metavar="[FIRMWARE]", help="A file of configs/firmware.")] = None,
    as_json: Json = False,
) -> None:
    """Print what a firmware loads and how much memory it leaves, each figure with its source."""
    from pipeline.firmware.profile import load_profile, profiles
    from pipeline.report.firmware import profile_table, profiles_table

    root = Path.cwd()
    known = profiles(root) if name is None else [load_profile(name, root)]
    if as_json:
        values = [profile.model_dump(mode="json") for profile in known]
        _print_json(values if name is None else values[0])
    else:
        _console().print(profiles_table(known) if name is None else profile_table(known[0]))


Firmware = Annotated[str | None, typer.Option("--firmware", "-f", help="A file of configs/firmware, or all.")]
Load = Annotated[str, typer.Option(help="sd, flash or flash-stream.")]
Camera = Annotated[str, typer.Option(help="none, qqvga, qvga or vga.")]
Lcd = Annotated[bool, typer.Option(help="Whether an LCD buffer is held.")]
DualBuffer = Annotated[bool, typer.Option(help="Whether the camera has two buffers.")]
GcHeap = Annotated[int | None, typer.Option(help="MicroPython's heap in bytes.")]
ModelBytes = Annotated[int | None, typer.Option(help="A budget tighter than the firmware's.")]


@app.command()
def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=".onnx, .tflite, .h5 or .keras.")],
    firmware: Firmware = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Judge what nncase 1.9 alone would do, without kpufit's preparation.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with a timeline of the memory, layer by layer.")
    ] = None,
    load: Load = "sd",
    camera: Camera = "qvga",
    lcd: Lcd = True,
    dual_buffer: DualBuffer = False,
    gc_heap: GcHeap = None,
    model_bytes: ModelBytes = None,
    as_json: Json = False,
) -> None:
    """Say before compiling what nncase 1.9 will make of a network: KPU or CPU, layer by layer, and why; bytes, time.

    Exit code 1 when numbers would be wrong, it does not compile, anything but a classifier's head runs on the CPU, or
    it is over a budget; 0 otherwise. `kpufit rules` explains every finding.
    """
    from pipeline.firmware.predicted import check_for, chosen_profiles
    from pipeline.network.user_file import read_user_file
    from pipeline.recipe import Target, parse

    root = Path.cwd()
    profiles = chosen_profiles(firmware, root)
    values = {"load": load, "camera": camera, "lcd": lcd, "dual_buffer": dual_buffer, "gc_heap": gc_heap,
              "model_bytes": model_bytes}  # fmt: skip
    target = parse(Target, {"firmware": firmware or "", **values}, where="options of kpufit check")
    answer = check_for(read_user_file(model, normal=not raw), profiles, target, root, raw=raw, where=str(model))
    if html is not None:
        from pipeline.files import write_text
        from pipeline.report.check_page import check_page

        write_text(html, check_page(answer, model.name))
    if as_json:
        from pipeline.report.check import check_json

        _print_json(check_json(answer, str(model)))
    else:
        from pipeline.report.check import findings_table, layers_table, summary_lines

        console = _console()
        console.print(layers_table(answer.checked))
        if answer.checked.findings:
            console.print(findings_table(answer.checked))
        print("\n".join(summary_lines(answer, str(model))))
        if html is not None:
            print(f"page: {html}")
    raise typer.Exit(EXIT_ACCEPTED if answer.clean else EXIT_REJECTED)


@app.command()
def replace(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=".onnx, .tflite, .h5 or .keras.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Training images: an .npz (x_train, perhaps y_train) or a folder."),
    ] = None,
    mean: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 0 unless the file holds it.")
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Of pixels / 255, one a channel; 1 unless the file holds it.")
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="Accuracy that the replacements may cost.")] = 0.01,
    regression_steps: Annotated[int, typer.Option(min=0, help="Steps of regression a layer.")] = 300,
    distil_steps: Annotated[int, typer.Option(min=0, help="Steps of distillation of the whole.")] = 500,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal networks.")] = 0,
    as_json: Json = False,
) -> None:
    """Replace what the KPU cannot run, exactly where possible, learned from the network itself where not.

    Labels are not needed: they only judge, on a fifth of the images that nothing is learnt from. Without images the
    structure is made and marked unverified. Exit code 1 when a layer that nothing replaces stays on the CPU beside a
    classifier's head, does not compile or would give wrong numbers; the rest is done and written all the same.
    """
    from pipeline.files import write_bytes
    from pipeline.kpu.check import check_network
    from pipeline.network.lift import to_torch
    from pipeline.network.lower import to_onnx
    from pipeline.network.user_file import contract_of, read_user_file
    from pipeline.pruning.limit import within_channels
    from pipeline.recipe import Replace
    from pipeline.replacement.kept import note_kept
    from pipeline.replacement.standalone import replace_alone
    from pipeline.report.check import findings_table
    from pipeline.report.replacement import replacement_json, replacement_lines, replacement_table
    from pipeline.training.data.loose import load_images

    given = read_user_file(model, weights=True)
    contract = contract_of(given, mean, std, where=str(model))
    settings = Replace(max_drop=max_drop, regression_steps=regression_steps, distil_steps=distil_steps)
    images = None if data is None else load_images(data, contract.image)
    network = to_torch(given, where=str(model))
    done = replace_alone(
        network, contract, images, settings, seed=seed, narrow=lambda *wide: within_channels(*wide).network
    )
    made = to_onnx(done.replaced.network, done.replaced.contract)
    note_kept(made, done.replaced.report.layers)
    checked = check_network(made, where=str(output))
    write_bytes(output, made.SerializeToString(deterministic=True))
    report = done.replaced.report.as_dict()
    if as_json:
        _print_json(replacement_json(report, done.judged, checked, str(output)))
    else:
        console = _console()
        console.print(replacement_table(report))
        if checked.left:
            console.print(findings_table(dataclasses.replace(checked, findings=checked.left)))
        print("\n".join(replacement_lines(report, done.judged, checked, str(output))))
    clean = checked.prediction.compiles and not checked.violations and done.replaced.report.accepted
    raise typer.Exit(EXIT_ACCEPTED if clean else EXIT_REJECTED)


@app.command()
def rules(as_json: Json = False) -> None:
    """Print every limit of the KPU and every trap of nncase 1.9 that `check` knows: what holds, why, what mends it."""
    from pipeline.kpu.rules import all_rules
    from pipeline.kpu.rules.document import rules_json, rules_markdown

    known = all_rules()
    if as_json:
        _print_json(rules_json(known))
    else:
        print(rules_markdown(known), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe (for an editor that completes YAML)."""
    from pipeline.recipe import Recipe

    _print_json(Recipe.model_json_schema())


KmodelFile = Annotated[Path, typer.Argument(metavar="FILE.kmodel", help="Any kmodel, also one that another tool made.")]


def _read_bytes(path: Path) -> bytes:
    from pipeline.errors import KmodelError

    try:
        return path.read_bytes()
    except OSError as error:
        raise KmodelError(f"cannot be read ({error.strerror})", where=str(path)) from error


def _kmodel_version(text: str) -> int:
    if text not in ("v3", "v4", "3", "4"):
        raise typer.BadParameter("allowed are v3 and v4")
    return int(text.removeprefix("v"))


@app.command()
def inspect(file: KmodelFile, as_json: Json = False) -> None:
    """Show what a kmodel is: version, layers, memory, registers by name (--json), and which firmware would load it.

    v3, v4, v5 and early v5 are read; v1, v6, v7 and encrypted ones are recognised and named.
    """
    from pipeline.firmware.profile import profiles
    from pipeline.kmodel.identify import identify
    from pipeline.kmodel.read import read
    from pipeline.report.kmodel import inspect_json, inspect_table

    content = _read_bytes(file)
    identity = identify(content)
    kmodel = read(content, where=str(file)) if identity.readable else None
    # Early v5 has other operator numbers, which no released firmware knows.
    loadable = kmodel is not None and not identity.early
    loads_on = [profile.name for profile in profiles(Path.cwd()) if loadable and identity.version in profile.versions]
    if as_json:
        _print_json(inspect_json(identity, kmodel, loads_on, len(content)))
        return
    print(f"{file}: {identity.name}, {len(content):,} bytes")
    if kmodel is None:
        return
    _console().print(inspect_table(kmodel, ""))
    sizes = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in vars(kmodel.sizes).items() if size)
    print(f"bytes: {sizes}")
    print(
        f"memory: {kmodel.heap_bytes:,} bytes of general SRAM beside the file, {kmodel.kpu_bytes:,} of the KPU's 2 MiB"
    )
    print(f"format loaded by: {', '.join(loads_on) or 'no known firmware'} (`kpufit gate` says whether it fits)")
    for note in kmodel.notes:
        print(f"note: {note}")


@app.command()
def transcode(
    file: KmodelFile,
    to: Annotated[str, typer.Option("--to", help="v3 or v4.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    head: Annotated[
        Path | None, typer.Option(help="ONNX network whose float classifier replaces the kmodel's own head.")
    ] = None,
    max_shift: Annotated[
        int | None, typer.Option(help="Largest activation shift that the runtime knows, e.g. 20 for nncase 0.2's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Carry nncase 1.9's v5 over to v4 or v3, which MaixPy and CanMV load; refuses what those cannot hold."""
    from pipeline.files import write_bytes
    from pipeline.kmodel.read import read
    from pipeline.kmodel.transcode import transcode as carry_over
    from pipeline.kmodel.write import write

    version, float_head = _kmodel_version(to), None
    if head is not None:
        from pipeline.network.onnx_head import onnx_head
        from pipeline.network.read import load_onnx

        float_head = onnx_head(load_onnx(head), where=str(head))
    source = read(_read_bytes(file), where=str(file))
    carried = carry_over(source, version, head=float_head, max_shift=max_shift)
    content = write(carried)
    write_bytes(output, content)
    if as_json:
        _print_json({"output": str(output), "version": carried.version, "kmodel_bytes": len(content),
                     "heap_bytes": carried.heap_bytes, "notes": list(carried.notes)})  # fmt: skip
        return
    print(f"{output}: kmodel v{carried.version}, {len(content):,} bytes, {carried.heap_bytes:,} bytes of main memory")
    for note in carried.notes:
        print(f"note: {note}")


@app.command()
def simulate(
    file: KmodelFile,
    images: Annotated[Path, typer.Option("--input", "-i", help="uint8 N×C×H×W, a .npy file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write, N × the output's shape.")],
    as_json: Json = False,
) -> None:
    """Run a kmodel v3, v4 or v5 on images, bit for bit as nncase 1.9's Simulator says the KPU computes."""
    import numpy as np

    from pipeline.errors import DataError
    from pipeline.files import replacing
    from pipeline.kmodel.read import read
    from pipeline.kpu.simulate import simulate as run_kmodel

    try:
        values = np.load(images, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"is not a .npy file of numbers ({error})", where=str(images)) from error
    kmodel = read(_read_bytes(file), where=str(file))
    outputs = run_kmodel(kmodel, values)
    if len(outputs) > 1:
        with replacing(output.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
            np.savez(stream, *outputs)
        output = output.with_suffix(".npz")
    else:
        with replacing(output) as temporary, temporary.open("wb") as stream:
            np.save(stream, outputs[0])
    if as_json:
        _print_json({"output": str(output), "images": len(values), "shapes": [list(each.shape) for each in outputs]})
    else:
        shapes = ", ".join(f"{each.dtype} {'×'.join(map(str, each.shape))}" for each in outputs)
        print(f"{output}: {shapes}")


@app.command()
def gate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.kmodel...", help="One kmodel, or several.")],
    firmware: Annotated[str, typer.Option("--firmware", "-f", help="A file of configs/firmware.")],
    load: Load = "sd",
    camera: Camera = "qvga",
    lcd: Lcd = True,
    dual_buffer: DualBuffer = False,
    gc_heap: GcHeap = None,
    model_bytes: ModelBytes = None,
    as_json: Json = False,
) -> None:
    """Judge kmodels against a firmware: version, memory, KPU limits. Several: each by itself, and all loaded together.

    Exit code 0 when every one fits by itself and, of several, all fit together; 1 when not.
    """
    from pipeline.firmware.facts import facts_of
    from pipeline.firmware.gate import judge, judge_together
    from pipeline.firmware.profile import load_profile, profiles
    from pipeline.kmodel.read import read
    from pipeline.recipe import Gate, Target, parse

    root = Path.cwd()
    profile, known = load_profile(firmware, root), profiles(root)
    values = {"firmware": firmware, "load": load, "camera": camera, "lcd": lcd, "dual_buffer": dual_buffer,
              "gc_heap": gc_heap, "model_bytes": model_bytes}  # fmt: skip
    target = parse(Target, values, where="options of kpufit gate")
    facts = [facts_of(read(_read_bytes(file), where=str(file))) for file in files]
    verdicts = {str(file): judge(each, profile, target, Gate(max_drop=1.0), others=known)
                for file, each in zip(files, facts, strict=True)}  # fmt: skip
    together = judge_together(facts, profile, target) if len(files) > 1 else None
    one_at_a_time = all(verdict.accepted for verdict in verdicts.values())
    accepted = one_at_a_time and (together is None or together.ok)
    if as_json:
        judged = {name: verdict.to_json() for name, verdict in verdicts.items()}
        _print_json({"accepted": accepted, "files": judged, "one_at_a_time": one_at_a_time,
                     "together": together.to_json() if together else None})  # fmt: skip
    else:
        from pipeline.report.verdict import verdict_lines

        for name, verdict in verdicts.items():
            print(f"{name}: {'accepted' if verdict.accepted else 'rejected'} for {firmware}")
            print("\n".join(verdict_lines(verdict.checks)))
        if together is not None:
            print(f"one at a time (unload before the next is loaded): {'fit' if one_at_a_time else 'do not fit'}")
            print(f"together (switch without loading): {'fit' if together.ok else 'do not fit'}")
            print("\n".join(verdict_lines([together])))
    raise typer.Exit(EXIT_ACCEPTED if accepted else EXIT_REJECTED)


app.command()(bundle)
