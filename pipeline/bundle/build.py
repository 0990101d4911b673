"""A bundle as files: every one by its path in the folder."""

from __future__ import annotations

import io
import json

import numpy as np
from numpy.typing import NDArray

from pipeline.bundle.contents import Bundle, summary
from pipeline.bundle.member import Member
from pipeline.bundle.programs import PROGRAMS, programs
from pipeline.bundle.texts import render
from pipeline.firmware.board_errors import BOARD_ERRORS, OLDEST_OFFSET
from pipeline.firmware.flash import swap_words
from pipeline.firmware.kfpkg import FlashFile, pack
from pipeline.recipe import Target

_STREAMED = "flash-stream"


def bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """Return every file of a bundle but the checksums, by its path in the folder."""
    texts = {
        "bundle.json": json.dumps(summary(bundle), indent=2) + "\n",
        "README.md": _readme(bundle),
        **programs(bundle),
    }
    files = {path: text.encode() for path, text in texts.items()}
    files["models.kfpkg"] = pack(_flash_files(bundle))
    for member in bundle.members:
        files |= {f"{member.name}/{path}": content for path, content in _member_files(member, bundle.target).items()}
    return files


def _readme(bundle: Bundle) -> str:
    listed = PROGRAMS[bundle.profile.interface]
    return render(
        "README.md.j2",
        bundle=bundle,
        summary=summary(bundle),
        programs=listed,
        main=next(iter(listed)),
        errors=BOARD_ERRORS,
        oldest_offset=OLDEST_OFFSET,
    )


def _member_files(member: Member, target: Target) -> dict[str, bytes]:
    vectors = member.vectors
    files = {
        "network.kmodel": member.content,
        "labels.txt": "".join(f"{label}\n" for label in member.labels).encode(),
        "contract.json": (json.dumps(member.contract, indent=2) + "\n").encode(),
        "MODEL_CARD.md": render("MODEL_CARD.md.j2", member=member).encode(),
        "vectors/inputs.npy": _npy(vectors.inputs),
        "vectors/outputs.npy": _npy(vectors.outputs),
        "vectors/inputs.bin": vectors.inputs.tobytes(),
        "vectors/outputs.bin": vectors.outputs.astype("<f4").tobytes(),
    }
    if target.load == _STREAMED:
        files["network.swapped.kmodel"] = swap_words(member.content)
    return files


def _flash_files(bundle: Bundle) -> list[FlashFile]:
    files = [FlashFile("firmware.bin", 0, bundle.firmware, firmware=True)] if bundle.firmware is not None else []
    for member, region in zip(bundle.members, bundle.layout.models, strict=True):
        content = swap_words(member.content) if bundle.target.load == _STREAMED else member.content
        files.append(FlashFile(f"{member.name}.kmodel", region.start, content))
    return files


def _npy(values: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()
