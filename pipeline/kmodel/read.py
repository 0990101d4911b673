"""Reading any kmodel that we understand."""

from __future__ import annotations

from pipeline.errors import KmodelError
from pipeline.kmodel.check import check_ranges
from pipeline.kmodel.identify import identify
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read_v3 import read_v3
from pipeline.kmodel.read_v4 import read_v4
from pipeline.kmodel.read_v5 import read_v5


def read(data: bytes, where: str = "") -> Kmodel:
    """Read a kmodel v3, v4, v5 or early v5.

    Args:
        data: the file's bytes.
        where: the file's name, for messages.

    Raises:
        KmodelError: another kind of file, a truncated or a damaged one.
    """
    identity = identify(data)
    if not identity.readable:
        raise KmodelError(
            f"cannot read this: {identity.name}",
            where=where,
            remedy="kmodels v3, v4 and v5 can be read; nncase 1.9 writes v5",
        )
    try:
        if identity.version == 3:
            model = read_v3(data)
        elif identity.version == 4:
            model = read_v4(data)
        else:
            model = read_v5(data, early=identity.early)
        check_ranges(model)
    except KmodelError as error:
        raise KmodelError(error.what, where=where or error.where, remedy=error.remedy) from error
    return model
