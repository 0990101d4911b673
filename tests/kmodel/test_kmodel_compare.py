"""`kpufit diff`: equal, changed, added; on files of the repository."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.kmodel.compare import compare_layers
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.read import read


def test_what_changed_is_named(committed: dict[str, bytes]) -> None:
    kmodel = next(found for content in committed.values() if (found := read(content)).convolutions)
    assert compare_layers(kmodel, kmodel) == []
    place, conv = next((n, step) for n, step in enumerate(kmodel.steps) if isinstance(step, KpuConv))
    other = replace(conv, weights=bytes([conv.weights[0] ^ 3]) + conv.weights[1:])
    steps = list(kmodel.steps)
    steps[place] = replace(other, registers=replace(conv.registers, pad_value=conv.registers.pad_value ^ 1))
    (change,) = compare_layers(kmodel, replace(kmodel, steps=tuple(steps)))
    assert change.kind == "changed"
    assert any(sentence.startswith("pad_value") for sentence in change.what)
    assert any(sentence.startswith(f"weights: 1 of {len(conv.weights):,} changed") for sentence in change.what)
    assert [sentence.split()[0] for sentence in change.what] == ["pad_value", "weights:"]
    (added,) = compare_layers(replace(kmodel, steps=kmodel.steps[:-1]), kmodel)
    (removed,) = compare_layers(kmodel, replace(kmodel, steps=kmodel.steps[:-1]))
    assert (added.kind, removed.kind) == ("added", "removed")


def test_exit_codes_are_those_of_diff(committed: dict[str, bytes], tmp_path: Path) -> None:
    contents = list(committed.values())
    other = next(content for content in contents if content != contents[0])
    for name, content in (("a", contents[0]), ("b", other), ("c", b"no kmodel")):
        (tmp_path / name).write_bytes(content)
    runner = CliRunner()
    assert runner.invoke(app, ["diff", str(tmp_path / "a"), str(tmp_path / "a")]).exit_code == 0
    differ = runner.invoke(app, ["diff", str(tmp_path / "a"), str(tmp_path / "b")])
    assert differ.exit_code == 1
    assert "→" in differ.output


def test_what_changed_comes_in_the_order_of_the_registers(committed: dict[str, bytes]) -> None:
    kmodel = next(found for content in committed.values() if (found := read(content)).convolutions)
    place, conv = next((n, step) for n, step in enumerate(kmodel.steps) if isinstance(step, KpuConv))
    some = {"pad_value", "arg_w", "arg_add", "channel_switch", "row_switch", "coef_group", "para_size", "load_act"}
    names = [each.name for each in fields(conv.registers) if each.name in some]
    assert len(names) > 5
    other = replace(conv.registers, **{name: getattr(conv.registers, name) ^ 1 for name in names})
    steps = list(kmodel.steps)
    steps[place] = replace(conv, registers=other)
    (change,) = compare_layers(kmodel, replace(kmodel, steps=tuple(steps)))
    assert [sentence.split()[0] for sentence in change.what] == names
