"""A finished tiny project made into one with several recipes, without training anything again."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml


def with_recipes(finished: Path, folder: Path, names: list[str]) -> Path:
    """Copy a finished project and give it copies of its recipe, as finished: all that differs in them is the name."""
    shutil.copytree(finished, folder, symlinks=True)
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    stages = lock["stages"]
    for name in names:
        shutil.copy(folder / "recipes" / "tiny.yaml", folder / "recipes" / f"{name}.yaml")
        shutil.copytree(folder / "out" / "tiny", folder / "out" / name)
        shutil.copy(folder / "data" / "manifests" / "tiny.json", folder / "data" / "manifests" / f"{name}.json")
        for stage, known in list(stages.items()):
            if stage.endswith("@tiny"):
                stages[stage.replace("@tiny", f"@{name}")] = yaml.safe_load(_renamed(yaml.safe_dump(known), name))
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "recipes": names}))
    return folder


def _renamed(text: str, name: str) -> str:
    for place in ("recipes/tiny.yaml", "out/tiny/", "out/tiny\n", "manifests/tiny.json"):
        text = text.replace(place, place.replace("tiny", name))
    return text.replace(" tiny\n", f" {name}\n")


def change(project: Path, recipe: str, section: str, **values: object) -> None:
    """Change keys of a section of a recipe."""
    path = project / "recipes" / f"{recipe}.yaml"
    content = yaml.safe_load(path.read_text())
    content[section] = {**(content.get(section) or {}), **values}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
