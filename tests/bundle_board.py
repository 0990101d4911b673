"""A K210 board that runs a bundle's programs under CPython: MaixPy's and CanMV's modules over kpufit's simulator.

What matters here is what the real ones do: an image holds RGB565 or grey, `pix_to_ai` makes the planes that the KPU
reads, a kmodel v4 has no outputs before `set_outputs` (MaixPy), and models stay in memory until they are unloaded.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.firmware.flash import swap_words
from pipeline.kmodel.read import read
from pipeline.kpu.simulate import Program, prepare
from pipeline.kpu.simulate import run_program as run_kmodel

MOST_LOADED = 5


class SwitchedOff(BaseException):
    """The end of a program that never ends by itself."""


def _widened_by_tables(values: np.ndarray, bits: int) -> np.ndarray:
    return np.floor(values * 255 / ((1 << bits) - 1) + 0.5).astype(np.uint8)


def _widened_by_repeating(values: np.ndarray, bits: int) -> np.ndarray:
    return ((values << (8 - bits)) | (values >> (2 * bits - 8))).astype(np.uint8)


WIDENINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "tables": _widened_by_tables,
    "repeating": _widened_by_repeating,
}


class Image:
    """MaixPy's image: pixels are grey H×W or RGB565, kept as its three codes H×W×3."""

    def __init__(self, board: Board, pixels: np.ndarray) -> None:
        self._board, self._pixels = board, pixels
        self.planes: np.ndarray | None = None

    def width(self) -> int:
        return self._pixels.shape[1]

    def height(self) -> int:
        return self._pixels.shape[0]

    def to_grayscale(self) -> Image:
        self._pixels = np.zeros(self._pixels.shape[:2], np.uint8)
        return self

    def set_pixel(self, x: int, y: int, value: Any) -> None:
        grey = self._pixels.ndim == 2
        self._pixels[y, x] = value if grey else [v >> (8 - bits) for v, bits in zip(value, (5, 6, 5), strict=True)]

    def pix_to_ai(self) -> None:
        if self._pixels.ndim == 2:
            self.planes = self._pixels[None].astype(np.uint8)
        else:
            widen = WIDENINGS[self._board.widening]
            codes = self._pixels.astype(np.int64)
            self.planes = np.stack([widen(codes[..., i], bits) for i, bits in enumerate((5, 6, 5))])

    def resize(self, width: int, height: int) -> Image:
        rows = np.arange(height) * self.height() // height
        columns = np.arange(width) * self.width() // width
        return Image(self._board, self._pixels[rows][:, columns].copy())

    def invert(self) -> None:
        self._pixels = 255 - self._pixels

    def draw_string(self, _x: int, _y: int, text: str, **_: Any) -> None:
        self._board.drawn.append(text)


class Board:
    """A board with a card, a flash, a camera and a button.

    Attributes:
        loaded: handles of the models in memory.
        most_loaded: how many there were at once.
        drawn: what was written on the screen.
    """

    def __init__(self, card: Path, flash: Callable[[int, int], bytes], frames: int = 0) -> None:
        self.loaded: list[Any] = []
        self.most_loaded = 0
        self.drawn: list[str] = []
        self.presses_at: set[int] = set()
        self.widening = "tables"
        self.streamed: list[int] = []
        self._card, self._flash, self._frames = card, flash, frames
        self._seen = 0
        self._size = (320, 240)
        self._grey = False
        self._pressed = False

    # --- what the modules share

    def open(self, path: str, mode: str = "r") -> Any:
        assert path.startswith("/sd/")
        return (self._card / path.removeprefix("/sd/")).open(mode)

    def _read(self, source: str | int, size: int | None = None) -> bytes:
        if isinstance(source, str):
            with self.open(source, "rb") as file:
                return bytes(file.read())
        return self._flash(source, size or (1 << 20))

    def keep(self, handle: Any) -> Any:
        if len(self.loaded) >= MOST_LOADED:
            raise ValueError("[MAIXPY]kpu: load error:2009, ERR_MODELS_FULL")
        self.loaded.append(handle)
        self.most_loaded = max(self.most_loaded, len(self.loaded))
        return handle

    def _snapshot(self) -> Image:
        self._seen += 1
        if self._seen > self._frames:
            raise SwitchedOff
        self._pressed = self._seen in self.presses_at
        width, height = self._size
        random = np.random.default_rng(self._seen)
        image = Image(self, random.integers(0, 32, (height, width) if self._grey else (height, width, 3)))
        image.planes = random.integers(0, 256, (1 if self._grey else 3, height, width)).astype(np.uint8)
        return image

    def _button(self) -> int:
        pressed, self._pressed = self._pressed, False
        return 0 if pressed else 1

    def modules(self) -> dict[str, types.ModuleType]:
        def set_format(grey: bool) -> None:
            self._grey = grey

        def set_window(size: tuple[int, int]) -> None:
            assert size[0] % 8 == size[1] % 8 == 0
            self._size = size

        sensor = _module("sensor", GRAYSCALE=True, RGB565=False, QVGA=1, QQVGA=2, VGA=3, reset=_nothing,
                         set_pixformat=set_format, set_framesize=_nothing, set_windowing=set_window, run=_nothing,
                         skip_frames=_nothing, snapshot=self._snapshot)  # fmt: skip
        image = _module("image", Image=lambda size: Image(self, np.zeros((size[1], size[0], 3), np.uint8)))
        fm = types.SimpleNamespace(register=_nothing, fpioa=types.SimpleNamespace(GPIOHS0=0))
        gpio = types.SimpleNamespace(GPIOHS0=0, IN=0, PULL_UP=1)
        key = types.SimpleNamespace(value=self._button)
        pins = type("GPIO", (), {**vars(gpio), "__new__": lambda *_: key})
        clock = _module("time", **{**vars(time), "sleep_ms": _nothing})
        collector = _module("gc", collect=_nothing)  # CPython's would go through all that the tests hold
        return {
            "sensor": sensor, "image": image, "lcd": _module("lcd", init=_nothing, display=_nothing),
            "fpioa_manager": _module("fpioa_manager", fm=fm), "Maix": _module("Maix", GPIO=pins), "time": clock,
            "gc": collector,
        } | {"GPIO": pins}  # type: ignore[dict-item]  # fmt: skip


def maixpy(board: Board) -> dict[str, types.ModuleType]:
    """The modules of MaixPy on a board."""

    class Network:
        def __init__(self, content: bytes) -> None:
            self.kmodel = read(content)
            self.prepared = prepare(self.kmodel)
            self.is_set = self.kmodel.version == 3

    def load(source: str | int) -> Network:
        return board.keep(Network(board._read(source)))

    def load_flash(address: int, dual: int, batch: int, speed: int) -> Network:
        assert (dual, batch) == (0, 0)
        assert 0 < speed <= 80_000_000
        board.streamed.append(address)
        return board.keep(Network(swap_words(board._read(address))))

    def set_outputs(network: Network, index: int, width: int, height: int, channels: int) -> bool:
        network.is_set = network.kmodel.outputs[index].size == width * height * channels * 4
        return network.is_set

    def forward(network: Network, pixels: Image) -> list[float]:
        assert network in board.loaded
        if not network.is_set:
            raise OSError("2013")
        return _answer(network.prepared, pixels)

    kpu = _module(
        "KPU", load=load, load_flash=load_flash, set_outputs=set_outputs, forward=forward, deinit=board.loaded.remove
    )
    modules = board.modules()
    modules.pop("GPIO")
    return {**modules, "KPU": kpu}


def canmv(board: Board, *, old: bool) -> dict[str, types.ModuleType]:
    """The modules of CanMV on a board, up to v1.0.5 (``old``) or later."""

    class Base:
        def __init__(self) -> None:
            self.prepared: Program | None = None
            self.answer: list[float] = []

        def _load(self, content: bytes) -> None:
            self.prepared = prepare(read(content))
            board.keep(self)

        def _run(self, pixels: Image) -> list[float]:
            assert self in board.loaded
            return _answer(self.prepared, pixels)

        def deinit(self) -> None:
            board.loaded.remove(self)

    class Old(Base):
        def load_kmodel(self, source: str | int, size: int | None = None) -> None:
            assert isinstance(source, str) or size
            self._load(board._read(source, size))

        def run_with_output(self, pixels: Image, getlist: bool = False) -> list[float]:
            assert getlist
            return self._run(pixels)

    class New(Base):
        def load(self, source: str | int) -> None:
            self._load(board._read(source))

        def run(self, pixels: Image) -> None:
            self.answer = self._run(pixels)

        def get_outputs(self) -> list[float]:
            return self.answer

    modules = board.modules()
    gpio = modules.pop("GPIO")
    modules.pop("Maix")
    return {**modules, "maix": _module("maix", KPU=Old if old else New, GPIO=gpio)}


def run_program(program: Path, board: Board, modules: dict[str, types.ModuleType]) -> None:
    """Run a program until it ends, or the board is switched off."""
    with _installed(modules):
        try:
            exec(compile(program.read_text(), str(program), "exec"), {"open": board.open, "__name__": "__main__"})
        except SwitchedOff:
            return


def _answer(prepared: Program | None, pixels: Image) -> list[float]:
    assert prepared is not None
    assert pixels.planes is not None
    answer: list[float] = run_kmodel(prepared, pixels.planes[None])[0].reshape(-1).tolist()
    return answer


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def _nothing(*_: Any, **__: Any) -> None:
    return None


@contextmanager
def _installed(modules: dict[str, types.ModuleType]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
