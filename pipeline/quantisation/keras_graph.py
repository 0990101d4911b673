"""A Keras graph under construction: layers, their weights, and how onnx2tf laid its tensors out. (Child process only.)

Every tensor of the graph is N×H×W×C, or N×K behind the flattening. onnx2tf wraps some operators in transposes to and
from N×C×H×W; a ``Tensor`` therefore carries the order of axes that onnx2tf sees, and the transposes themselves vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from pipeline.errors import NetworkError

NHWC = (0, 1, 2, 3)
FLAT = (0, 1)


Arguments = Mapping[str, Any]
"""An operator's arguments by name: tensors as ``Tensor``, constants as arrays."""


class Unliftable(Exception):  # noqa: N818
    """An operator, or a use of one, that no Keras layer of ours stands for."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the Keras graph.

    Attributes:
        keras: Keras' own tensor.
        order: axis i of onnx2tf's tensor is axis ``order[i]`` of ours.
    """

    keras: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Our shape without the batch."""
        return tuple(int(size) for size in self.keras.shape[1:])

    def axis(self, theirs: int) -> int:
        """Our number of onnx2tf's axis."""
        return self.order[theirs]

    def array(self, theirs: NDArray[np.float32]) -> NDArray[np.float32]:
        """A constant that onnx2tf broadcasts against this tensor, with axes in our order and of our rank."""
        full = theirs.reshape((1,) * (len(self.order) - theirs.ndim) + theirs.shape)
        return np.transpose(full, np.argsort(self.order))


@dataclass
class Graph:
    """The layers so far and the weights that they will be given.

    Attributes:
        kernels: kernel and bias of each convolution and dense layer, by layer name.
        shared: layers whose output several operators read, by name.
    """

    kernels: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    _count: dict[str, int] = field(default_factory=dict)

    def name(self, kind: str) -> str:
        """A new layer name, without dots (TFLite's and tfmot's naming break on them)."""
        number = self._count.get(kind, 0)
        self._count[kind] = number + 1
        return f"{kind}_{number}"

    def apply(self, kind: str, factory: Callable[..., Any], inputs: Any, *, order: tuple[int, ...]) -> Tensor:
        """Add a layer, ``factory(name=…)``, on Keras tensors."""
        return Tensor(factory(name=self.name(kind))(inputs), order)

    def weighted(
        self, kind: str, factory: Callable[..., Any], source: Tensor, kernel: NDArray[np.float32], outputs: int
    ) -> Tensor:
        """Add a convolution or dense layer with ``kernel`` and a bias of zeros."""
        result = self.apply(kind, factory, source.keras, order=source.order)
        self.kernels[layer_of(result).name] = [kernel, np.zeros(outputs, np.float32)]
        return result

    def absorb(self, tensor: Tensor, scale: NDArray[np.float32], offset: NDArray[np.float32]) -> bool:
        """Take ``scale · x + offset`` a channel into the layer that made ``tensor``, where that is possible.

        It is when the layer has weights and nothing else reads its output.
        """
        layer = layer_of(tensor)
        channels = tensor.shape[-1]
        per_channel = all(value.size in (1, channels) and value.size == value.shape[-1] for value in (scale, offset))
        if layer.name not in self.kernels or layer.name in self.shared or not per_channel:
            return False
        kernel, bias = self.kernels[layer.name]
        scale = np.broadcast_to(scale.reshape(-1), (channels,))
        depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        kernel = kernel * (scale.reshape(-1, 1) if depthwise else scale)
        self.kernels[layer.name] = [kernel.astype(np.float32), (bias * scale + offset.reshape(-1)).astype(np.float32)]
        return True

    def model(self, source: Tensor, result: Tensor) -> Any:
        """Return the Keras model with its weights set."""
        model = tf_keras.Model(source.keras, result.keras)
        for name, weights in self.kernels.items():
            model.get_layer(name).set_weights(weights)
        return model


def layer_of(tensor: Tensor) -> Any:
    """The Keras layer that made ``tensor``."""
    return tensor.keras.node.layer


def refuse(where: str, what: str) -> NetworkError:
    """The error for an operator that cannot be carried into Keras layers."""
    return NetworkError(
        what,
        where=where,
        remedy="run `replace` first, or see `kpufit check` for what the KPU can do with this layer",
    )


def as_image(value: Any, *, any_order: bool = False) -> Tensor:
    """Return an argument that is an image, N×H×W×C to onnx2tf too unless ``any_order``."""
    if not isinstance(value, Tensor) or len(value.order) != 4 or not (any_order or value.order == NHWC):
        raise Unliftable("input that is not an N×H×W×C activation")
    return value


def as_constant(value: Any) -> NDArray[np.float32]:
    """Return an argument that is an array."""
    if isinstance(value, Tensor):
        raise Unliftable("weights that are computed rather than constant")
    return np.asarray(value, np.float32)


def as_scalar(value: Any) -> float:
    """Return an argument that is one number."""
    array = as_constant(value)
    if array.size != 1:
        raise Unliftable("a bound a channel")
    return float(array.reshape(()))
