"""Where the kmodels of trials are kept: Optuna's artifact store, in a folder or in S3."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore

from pipeline.errors import SetupError
from pipeline.files import make_folder

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
