"""Writing a kmodel v3 or v4."""

from __future__ import annotations

from pipeline.errors import KmodelError
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.write_v3 import write_v3
from pipeline.kmodel.write_v4 import write_v4


def write(model: Kmodel) -> bytes:
    """Return the file of a v3 or v4 model; reading it again gives the same program.

    Raises:
        KmodelError: a v5 model (nncase writes those), or a step that the version does not have.
    """
    if model.version == 3:
        return write_v3(model)
    if model.version == 4:
        return write_v4(model)
    raise KmodelError(
        f"kmodel v{model.version} is not written here", remedy="keep the file that nncase wrote, or transcode it"
    )
