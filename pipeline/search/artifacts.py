"""Where the kmodels of trials are kept: Optuna's artifact store, in a folder or in S3."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import optuna
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore, upload_artifact

from pipeline.errors import SetupError, StorageError
from pipeline.files import exchange_folder, make_folder

Store = FileSystemArtifactStore | Boto3ArtifactStore


def store_at(place: str | Path) -> Store:
    """Return the store at a folder, or at ``s3://BUCKET`` (an endpoint of one's own: AWS_ENDPOINT_URL).

    Raises:
        SetupError: S3 is asked for without boto3.
        StorageError: the folder cannot be made.
    """
    found = urlsplit(str(place))
    if found.scheme == "s3":
        try:
            return Boto3ArtifactStore(bucket_name=found.netloc)
        except ImportError as error:
            raise SetupError("boto3 is not installed", where=str(place), remedy="pip install boto3") from error
    folder = Path(place)
    make_folder(folder)
    return FileSystemArtifactStore(str(folder))


def keep(content: bytes, trial: optuna.Trial, store: Store) -> str:
    """Upload a trial's kmodel, so that any machine has it; return its identifier.

    Raises:
        StorageError: the store is full or cannot be reached.
    """
    with exchange_folder() as folder:
        path = folder / "network.kmodel"
        path.write_bytes(content)
        try:
            return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
        except _failures() as error:
            raise StorageError(
                f"the kmodel of a candidate cannot be kept ({error})",
                where="the artifact store",
                remedy="free space there, or see that it can be reached; the same command goes on with the study",
            ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a store may raise: on disk, or in S3."""
    try:
        from botocore.exceptions import (  # type: ignore[import-not-found]  # noqa: PLC0415 (only with S3)
            BotoCoreError,
            ClientError,
        )
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError, ClientError)
