"""What the shell completes: names that are files of the project or known to kpufit. No heavy imports."""

from __future__ import annotations

from pathlib import Path


def recipes(incomplete: str) -> list[str]:
    """Recipes of the project's folder."""
    return _matching([path.stem for path in Path("recipes").glob("*.yaml")], incomplete)


def firmwares(incomplete: str) -> list[str]:
    """Firmware profiles of the project, or those that kpufit ships."""
    from pipeline.firmware.profile import profile_names

    return _matching(profile_names(Path.cwd()), incomplete)


def firmwares_or_all(incomplete: str) -> list[str]:
    """Firmware profiles, or all of them."""
    return [*firmwares(incomplete), *_matching(["all"], incomplete)]


def data_sets(incomplete: str) -> list[str]:
    """Data sets that can be fetched."""
    from pipeline.training.data.fetch import fetchable

    return _matching(list(fetchable()), incomplete)


def stages(incomplete: str) -> list[str]:
    """Stages, in their order."""
    from pipeline.stages.layout import STAGES

    return [name for name in STAGES if name.startswith(incomplete)]


def _matching(names: list[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
