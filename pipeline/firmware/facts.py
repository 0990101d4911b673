"""What the gate asks of a kmodel, read from the file itself, not from the compiler's log."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.firmware.verdict import KmodelFacts, LayerFacts
from pipeline.kmodel.check import step_name
from pipeline.kmodel.layout import weight_loads
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.steps import Conv2d, Step, Unknown
from pipeline.kpu.latency import ConvWork, latency, network_latency

_REGISTER_BYTES = 96


def facts_of(kmodel: Kmodel) -> KmodelFacts:
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
        latency_ms=_latency_ms([step for _, step in convolutions]),
    )


def _latency_ms(convolutions: Sequence[KpuConv]) -> float | None:
    """Return the predicted time of the KPU's part; the CPU's is not known (see ``kpu.latency.CPU_OPERATORS``)."""
    if not convolutions:
        return None
    return round(network_latency(latency(_work(conv)) for conv in convolutions).milliseconds(), 3)


def _work(conv: KpuConv) -> ConvWork:
    r = conv.registers
    shrink = max(1, r.in_height // max(1, r.out_height))
    return ConvWork(r.in_channels, r.out_channels, r.in_height, r.in_width, r.kernel, r.depthwise, shrink)


def _bytes(conv: KpuConv) -> int:
    return _REGISTER_BYTES + len(conv.weights) + len(conv.batch_norm.words) + len(conv.activation.table)


def _is_convolution(step: Step) -> bool:
    return isinstance(step, Conv2d) or (isinstance(step, Unknown) and "conv" in step.name)
