"""The typed errors: what went wrong, where, and how to mend it.

A command that ends in one of these prints it without a traceback and exits with code 2. A *rejection* (a
network over the firmware's memory, say) is a result, not an error, and exits with code 1.
"""

from __future__ import annotations

EXIT_ACCEPTED = 0
EXIT_REJECTED = 1
EXIT_ERROR = 2


class KpufitError(Exception):
    """Base of every error that a user can cause or mend.

    Args:
        what: what went wrong, in one sentence without a full stop.
        where: the file, layer or key it happened in, or "".
        remedy: what the user can do about it, or "".

    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{where}{self.what}{remedy}"


class RecipeError(KpufitError):
    """A recipe that does not exist, does not parse or holds an impossible value."""


class FirmwareError(KpufitError):
    """An unknown firmware profile, or one that does not parse."""


class DataError(KpufitError):
    """A data set that is missing, incomplete or unlike what the recipe says."""


class NetworkError(KpufitError):
    """A network that cannot be read, holds non-finite weights or an operator that we cannot carry."""


class KmodelError(KpufitError):
    """A kmodel that cannot be read, written or carried over to another version."""


class ToolError(KpufitError):
    """A native or foreign tool (nncase, onnx2tf, TFLite) that failed, crashed or ran out of time.

    Args:
        log: what the tool printed; ``str()`` shows its last lines.

    """

    LOG_LINES = 12

    def __init__(self, what: str, *, where: str = "", remedy: str = "", log: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.log = log

    def __str__(self) -> str:
        lines = [line for line in self.log.splitlines() if line.strip()][-self.LOG_LINES :]
        log = "".join(f"\n  | {line}" for line in lines)
        return super().__str__() + log


class SetupError(KpufitError):
    """A part of the installation (an environment, a package, a program) that is missing or wrong."""


class StorageError(KpufitError):
    """A file that could not be written: disk full, no permission."""
