"""What quantisation costs, layer by layer: the maps of the kmodel against those of the float network it was made from.

A kmodel's convolution gives codes. What they mean is not in the file, but for the last ones. So it is found from the
maps: the zero point is what the convolution behind pads with (its register), and the scale the one that brings the
codes nearest to the float map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.evaluation.tflite import FloatNetwork
from pipeline.evaluation.watch import watched
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.model import Kmodel
from pipeline.kpu.prediction import predict
from pipeline.kpu.simulate import prepare, run_program
from pipeline.network.contract import InputContract

_BATCH = 8
"""Images whose maps are in memory at once: those of a MobileNet at 224×224 take about 20 MB each."""
_HIGHEST_CODE = 255

_Codes = NDArray[np.generic]
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LayerError:
    """How a convolution's map in the kmodel differs from the float network's, by all images together.

    Attributes:
        convolution: its place among the kmodel's convolutions, from 0.
        shape: of its map, (C, H, W).
        cosine: of the angle between the two maps, 1 for the same direction.
        snr_db: power of the float map over that of the difference in decibels; infinite where they are equal.
        saturated: share of codes at 255, the end of the range.
        scale: what a code is worth.
        zero_point: the code that means 0.
    """

    convolution: int
    shape: tuple[int, int, int]
    cosine: float
    snr_db: float
    saturated: float
    scale: float
    zero_point: int


def layer_errors(
    kmodel: Kmodel, network: bytes, images: NDArray[np.uint8], contract: InputContract
) -> tuple[LayerError, ...]:
    """Compare the maps of a kmodel's convolutions with those of the float network it was made from.

    Which float map a convolution computes is found by the first images: of those of its shape, the one that goes with
    its codes most closely. A convolution that only the compiler knows (part of a split layer) has none and is left out,
    and so is one whose map never varies.

    Args:
        kmodel: as read.
        network: the float TFLite network that was compiled.
        images: uint8 N×C×H×W.
        contract: how pixels become the float network's input.

    Raises:
        KmodelError: the simulator cannot run it.
        ToolError: LiteRT refuses the network.
    """
    convolutions = kmodel.convolutions
    program = prepare(watched(kmodel, range(len(convolutions))))
    floats = FloatNetwork(network, min(_BATCH, len(images)), keep_maps=True)
    sums = [_Sums() for _ in convolutions]
    matches: list[int | None] = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        floats.resize(len(batch))
        codes = run_program(program, batch)[: len(convolutions)]
        maps = floats.maps(contract.normalise(batch))
        matches = matches or [_closest(each, maps) for each in codes]
        for index, (match, found) in enumerate(zip(matches, codes, strict=True)):
            if match is not None:
                sums[index] = sums[index].with_maps(found, maps[match])
    errors = []
    for index, (conv, match, total) in enumerate(zip(convolutions, matches, sums, strict=True)):
        if match is not None and total.varies:
            errors.append(_error(index, conv, total, _padded_with(index, convolutions)))
    return tuple(errors)


def convolution_names(kmodel: Kmodel, model: onnx.ModelProto) -> tuple[str, ...]:
    """Return a name for each of a kmodel's convolutions: its first layer in the network that became it.

    A file holds no names. Where its convolutions are not those that are predicted for the network, they are numbered.
    """
    convolutions = kmodel.convolutions
    predicted = predict(model, kmodel.version).program.convs
    if [conv.target.shape[1:] for conv in convolutions] == [tuple(conv.out_shape[1:]) for conv in predicted]:
        return tuple(conv.layers[0] for conv in predicted)
    return tuple(f"convolution {number}" for number in range(1, len(convolutions) + 1))


@dataclass(frozen=True)
class _Sums:
    """Sums over all values of a map so far, from which everything else follows."""

    count: int = 0
    codes: float = 0.0
    floats: float = 0.0
    codes_codes: float = 0.0
    floats_floats: float = 0.0
    codes_floats: float = 0.0
    saturated: int = 0

    def with_maps(self, codes: _Codes, floats: _Floats) -> _Sums:
        c, f = codes.ravel().astype(np.float64), floats.ravel().astype(np.float64)
        return _Sums(
            self.count + c.size,
            self.codes + float(c.sum()),
            self.floats + float(f.sum()),
            self.codes_codes + float(c @ c),
            self.floats_floats + float(f @ f),
            self.codes_floats + float(c @ f),
            self.saturated + int((c == _HIGHEST_CODE).sum()),
        )

    @property
    def varies(self) -> bool:
        return self.codes_codes * self.count > self.codes**2 and self.floats_floats > 0

    def zero_point(self) -> int:
        """The code where the straight line that goes best with the map crosses 0."""
        spread = self.codes_codes - self.codes**2 / self.count
        slope = (self.codes_floats - self.codes * self.floats / self.count) / spread
        middle = self.codes / self.count
        crossing = middle - self.floats / self.count / slope if slope else middle
        return int(np.clip(round(crossing), 0, _HIGHEST_CODE))


def _error(index: int, conv: KpuConv, sums: _Sums, padded_with: int | None) -> LayerError:
    zero = sums.zero_point() if padded_with is None else padded_with
    # Of the codes less their zero point:
    squares = sums.codes_codes - 2 * zero * sums.codes + zero**2 * sums.count
    product = sums.codes_floats - zero * sums.floats
    scale = product / squares
    noise = max(sums.floats_floats - scale * product, 0.0)
    _, channels, height, width = conv.target.shape
    return LayerError(
        index,
        (channels, height, width),
        cosine=product / math.sqrt(squares * sums.floats_floats),
        snr_db=10 * math.log10(sums.floats_floats / noise) if noise else math.inf,
        saturated=sums.saturated / sums.count,
        scale=scale,
        zero_point=zero,
    )


def _closest(codes: _Codes, maps: Mapping[int, _Floats]) -> int | None:
    """The map that goes with the codes most closely, whatever its scale; None where none has their shape."""
    likeness = {index: _correlation(codes, each) for index, each in maps.items() if each.shape == codes.shape}
    return max(likeness, key=lambda index: likeness[index], default=None)


def _correlation(codes: _Codes, floats: _Floats) -> float:
    c, f = codes.ravel().astype(np.float64), floats.ravel().astype(np.float64)
    c, f = c - c.mean(), f - f.mean()
    lengths = float(np.linalg.norm(c)) * float(np.linalg.norm(f))
    return float(c @ f) / lengths if lengths else -1.0


def _padded_with(index: int, convolutions: Sequence[KpuConv]) -> int | None:
    """What the first convolution that reads this one's map pads it with: the code of 0; None where none does."""
    written = convolutions[index].target
    for conv in convolutions[index + 1 :]:
        if conv.source.start == written.start and conv.source.shape == written.shape:
            return conv.registers.pad_value
        if conv.target.start < written.end and written.start < conv.target.end:
            return None
    return None
