"""What a firmware can hold: one YAML file a firmware in ``configs/firmware``, each figure with its source.

Adding a firmware is adding a file; nothing else names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import FirmwareError
from pipeline.files import yaml_problem
from pipeline.installation import shipped

FOLDER = Path("configs") / "firmware"

T = TypeVar("T")
Bytes = Annotated[int, Field(ge=0)]


class Figure(BaseModel, Generic[T]):
    """A figure and where it comes from.

    Attributes:
        value: the figure; null is one that nobody has measured.
        status: "measured" (on a binary or in an emulator), "documented" (by the vendor) or "assumed".
        source: which binary, text or file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    value: T
    status: Literal["measured", "documented", "assumed"]
    source: str = Field(min_length=1)


class Profile(BaseModel):
    """A firmware. All sizes are bytes.

    Attributes:
        name: the file's name without suffix.
        title: what it is, for people.
        language: what a user programs it in.
        interface: whose calls reach the KPU there: it decides the programs of ``kpufit bundle``.
        kmodel_versions: versions of the kmodel format that it loads.
        main_memory_bytes: general SRAM.
        heap_start_bytes: where its heap begins: everything below is code and static data; null: not measured.
        boot_bytes: what its start-up allocates.
        gc_heap_bytes: MicroPython's heap by default.
        documented_limit_bytes: how large a model may be by the documentation.
        loader_bytes: what loading takes beside file and main memory, by kmodel version.
        largest_file_bytes: the largest file that its loader accepts.
        flash_bytes: of the board.
        flash_models_start, flash_models_end: the part of the flash where models go.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    title: str
    language: Literal["c", "micropython"]
    interface: Literal["maixpy", "canmv", "c-sdk"]
    kmodel_versions: Figure[list[Literal[3, 4, 5]]]
    main_memory_bytes: Figure[Bytes]
    heap_start_bytes: Figure[Bytes | None]
    boot_bytes: Figure[Bytes]
    gc_heap_bytes: Figure[Bytes]
    documented_limit_bytes: Figure[Bytes]
    loader_bytes: dict[Literal[3, 4, 5], Figure[Bytes]]
    largest_file_bytes: Figure[Bytes]
    flash_bytes: Figure[Bytes]
    flash_models_start: Figure[Bytes]
    flash_models_end: Figure[Bytes]

    @model_validator(mode="after")
    def _is_consistent(self) -> Profile:
        if not self.versions:
            raise ValueError("kmodel_versions is empty")
        if set(self.loader_bytes) != set(self.versions):
            raise ValueError(f"loader_bytes must have one figure for each of kmodel_versions {list(self.versions)}")
        if not self.flash_models_start.value < self.flash_models_end.value <= self.flash_bytes.value:
            raise ValueError("flash_models_start, flash_models_end and flash_bytes must ascend")
        return self

    @property
    def versions(self) -> tuple[int, ...]:
        """The kmodel versions that it loads, ascending."""
        return tuple(sorted(self.kmodel_versions.value))

    @property
    def is_measured(self) -> bool:
        """Whether the start of its heap was measured, so that the memory sum holds without the documentation."""
        return self.heap_start_bytes.value is not None


def load_profile(name: str, root: Path) -> Profile:
    """Return the profile of a firmware.

    Args:
        name: a file of ``configs/firmware``, without suffix.
        root: the project's folder.

    Raises:
        FirmwareError: no such profile (lists the known), or one that does not parse (names the file and the key).
    """
    folder = profile_folder(root)
    known = profile_names(root)
    if name not in known:
        raise FirmwareError(
            f"no firmware {name!r}",
            where=str(folder),
            remedy=f"known: {', '.join(known) or 'none'}; another is one YAML file more in this folder",
        )
    return _read(folder / f"{name}.yaml")


def profiles(root: Path) -> list[Profile]:
    """Return the profiles of every firmware in ``configs/firmware``, by name. Raises FirmwareError."""
    return [_read(profile_folder(root) / f"{name}.yaml") for name in profile_names(root)]


def profile_folder(root: Path) -> Path:
    """Return where the profiles lie: in the project at ``root``, else, outside of any, those that kpufit ships."""
    return root / FOLDER if (root / FOLDER).is_dir() else shipped(FOLDER.as_posix())


def profile_names(root: Path) -> list[str]:
    """Return the names of all profiles, in order."""
    return sorted(path.stem for path in profile_folder(root).glob("*.yaml"))


def _read(path: Path) -> Profile:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise FirmwareError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="check who may read it"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FirmwareError(
            f"is not YAML ({yaml_problem(error)})", where=str(path), remedy="compare it with the files beside it"
        ) from error
    if not isinstance(values, dict):
        raise FirmwareError("is not a mapping of figures", where=str(path), remedy="copy a file beside it")
    try:
        return Profile.model_validate({**values, "name": path.stem})
    except ValidationError as error:
        findings = "; ".join(
            f"{'.'.join(str(part) for part in finding['loc']) or 'profile'}: {finding['msg']}"
            for finding in error.errors()
        )
        raise FirmwareError(findings, where=str(path), remedy="compare with the files beside it") from error
