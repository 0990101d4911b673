"""What the importing process is told, and what it leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

JOB = "job.json"
NETWORK = "network.onnx"
ERROR = "error.json"


@dataclass(frozen=True)
class Job:
    """One network to import.

    Attributes:
        kind: which worker does it.
        file: the weights or the model, an absolute path.
        image: channels, height, width; None: whatever the file says.
        factory: for torch, "package.module:function".
        root: for torch, the folder that the package is found from.
    """

    kind: Literal["torch", "tflite", "keras"]
    file: str
    image: tuple[int, int, int] | None
    factory: str = ""
    root: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the job as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        """Return the job of ``as_json``."""
        image = values["image"]
        return cls(**{**values, "image": None if image is None else tuple(image)})
