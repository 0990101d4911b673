"""What the gate asks of a kmodel, read from the file itself, not from the compiler's log."""

from __future__ import annotations

from pipeline.firmware.verdict import KmodelFacts, LayerFacts
from pipeline.kmodel.check import step_name
from pipeline.kmodel.layout import weight_loads
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.steps import Conv2d, Step, Unknown

_REGISTER_BYTES = 96


def facts_of(kmodel: Kmodel, latency_ms: float | None = None) -> KmodelFacts:
    """Return the figures of a kmodel that was read with ``pipeline.kmodel.read``."""
    named = [(step_name(index, step), step) for index, step in enumerate(kmodel.steps)]
    convolutions = [(name, step) for name, step in named if isinstance(step, KpuConv)]
    cpu = [(name, step) for name, step in named if step in kmodel.cpu_steps]
    layers = tuple(LayerFacts(name, _bytes(step), weight_loads(step.registers)) for name, step in convolutions)
    return KmodelFacts(
        version=kmodel.version,
        kmodel_bytes=kmodel.sizes.total,
        heap_bytes=kmodel.heap_bytes,
        kpu_bytes=kmodel.kpu_bytes,
        layers=layers,
        cpu_ops=tuple(name for name, _ in cpu),
        cpu_convolutions=tuple(name for name, step in cpu if _is_convolution(step)),
        output=kmodel.outputs[0].dtype.numpy_name if kmodel.outputs else "",
        header_bytes=kmodel.sizes.header,
        largest_body_bytes=max((layer.size for layer in layers), default=0),
        latency_ms=latency_ms,
    )


def _bytes(conv: KpuConv) -> int:
    return _REGISTER_BYTES + len(conv.weights) + len(conv.batch_norm.words) + len(conv.activation.table)


def _is_convolution(step: Step) -> bool:
    return isinstance(step, Conv2d) or (isinstance(step, Unknown) and "conv" in step.name)
