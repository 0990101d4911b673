"""The register block of one KPU convolution: twelve 64-bit words, the same in kmodel v3, v4 and v5.

Source of the layout: kendryte-standalone-sdk lib/drivers/include/kpu.h (``kpu_layer_argument_t``) and nncase
v1.9.0 modules/k210/include/nncase/runtime/k210/runtime_types.h. All fields are stored low bit first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

from pipeline.errors import KmodelError

REGISTER_BYTES: Final = 96
ROW_BYTES: Final = 64
"""Feature maps are addressed in rows of 64 bytes."""


class Pool(IntEnum):
    """The pool fused behind a convolution (register ``pool_type``)."""

    NONE = 0
    MAX_2_STRIDE_2 = 1
    MEAN_2_STRIDE_2 = 2
    MAX_4_STRIDE_4 = 3
    MEAN_4_STRIDE_4 = 4
    LEFT_TOP_2 = 5
    RIGHT_TOP_2 = 6
    LEFT_TOP_4 = 7
    MEAN_2_STRIDE_1 = 8
    MAX_2_STRIDE_1 = 9

    @property
    def stride(self) -> int:
        """How many input pixels one output pixel stands for, in each direction."""
        if self in (Pool.NONE, Pool.MEAN_2_STRIDE_1, Pool.MAX_2_STRIDE_1):
            return 1
        return 4 if self in (Pool.MAX_4_STRIDE_4, Pool.MEAN_4_STRIDE_4, Pool.LEFT_TOP_4) else 2


@dataclass(frozen=True)
class Registers:
    """The register block by name, as stored: a field whose name ends in ``_minus_1`` holds the count less one.

    Addresses ``src_address`` and ``dst_address`` are 64-byte rows of feature-map memory. ``bn_address``,
    ``act_address`` and ``para_address`` are patched by the loader; v4 files hold padding byte counts there.
    """

    int_en: int = 0
    ram_flag: int = 0
    full_add: int = 0
    depth_wise: int = 0
    src_address: int = 0
    dst_address: int = 0
    in_channels_minus_1: int = 0
    out_channels_minus_1: int = 0
    out_channels_per_load_minus_1: int = 0
    in_width_minus_1: int = 0
    in_height_minus_1: int = 0
    out_width_minus_1: int = 0
    out_height_minus_1: int = 0
    kernel_type: int = 0
    pad_type: int = 0
    pool_type: int = 0
    first_stride: int = 0
    bypass_conv: int = 0
    load_para: int = 1
    dma_burst_size: int = 15
    pad_value: int = 0
    bn_address: int = 0
    load_coor: int = 1
    load_time_minus_1: int = 0
    para_size: int = 0
    para_address: int = 0
    coef_column_offset: int = 0
    coef_row_offset: int = 0
    channel_switch: int = 0
    row_switch: int = 0
    coef_size: int = 0
    coef_group: int = 0
    load_act: int = 1
    act_address: int = 0
    wb_channel_switch: int = 0
    wb_row_switch: int = 0
    wb_group: int = 0
    shr_w: int = 0
    shr_x: int = 0
    arg_w: int = 0
    arg_x: int = 0
    arg_add: int = 0
    send_data_out: int = 0
    channel_bytes_minus_1: int = 0
    dma_total_bytes_minus_1: int = 0
    reserved: tuple[int, ...] = (0,) * 12
    """The bits of each word that have no name, in place; zero in every file seen."""

    @property
    def in_channels(self) -> int:
        """Channels of the input map."""
        return self.in_channels_minus_1 + 1

    @property
    def out_channels(self) -> int:
        """Channels of the output map."""
        return self.out_channels_minus_1 + 1

    @property
    def in_width(self) -> int:
        """Width of the input map in pixels."""
        return self.in_width_minus_1 + 1

    @property
    def in_height(self) -> int:
        """Height of the input map in pixels."""
        return self.in_height_minus_1 + 1

    @property
    def out_width(self) -> int:
        """Width of the output map in pixels, after the pool."""
        return self.out_width_minus_1 + 1

    @property
    def out_height(self) -> int:
        """Height of the output map in pixels, after the pool."""
        return self.out_height_minus_1 + 1

    @property
    def kernel(self) -> int:
        """Side of the kernel: 1 or 3."""
        return 3 if self.kernel_type == 1 else 1

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.depth_wise == 1

    @property
    def pool(self) -> Pool:
        """The fused pool."""
        return Pool(self.pool_type)

    @property
    def out_channels_per_load(self) -> int:
        """Output channels whose weights are loaded at a time."""
        return self.out_channels_per_load_minus_1 + 1

    @property
    def load_time(self) -> int:
        """Weight loads as the register says (6 bits, so at most 64 whatever the layer needs)."""
        return self.load_time_minus_1 + 1

    @property
    def loads_needed(self) -> int:
        """Weight loads that the layer needs, ⌈out_channels / out_channels_per_load⌉; 1 when depthwise."""
        return 1 if self.depthwise else -(-self.out_channels // self.out_channels_per_load)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights: k²·in·out, or k²·out when depthwise."""
        per_channel = self.kernel**2 * (1 if self.depthwise else self.in_channels)
        return per_channel * self.out_channels

    def encode(self) -> bytes:
        """Return the 96 bytes of the block.

        Raises:
            KmodelError: a value does not fit its field.
        """
        words = list(self.reserved)
        for name, (word, low, width, signed) in FIELDS.items():
            value = getattr(self, name)
            least, limit = (-(1 << (width - 1)), 1 << (width - 1)) if signed else (0, 1 << width)
            if not least <= value < limit:
                raise KmodelError(f"the register {name} = {value} does not fit its {width} bits")
            words[word] |= (value & ((1 << width) - 1)) << low
        return struct.pack("<12Q", *words)


def decode_registers(data: bytes) -> Registers:
    """Decode the 96 bytes of a register block.

    Raises:
        KmodelError: ``data`` is shorter, or holds a kernel or pool that the KPU does not have.
    """
    if len(data) != REGISTER_BYTES:
        raise KmodelError(f"a register block has {REGISTER_BYTES} bytes, not {len(data)}")
    words = struct.unpack("<12Q", data)
    values: dict[str, int] = {}
    for name, (word, low, width, signed) in FIELDS.items():
        value = words[word] >> low & ((1 << width) - 1)
        values[name] = value - (1 << width) if signed and value >> (width - 1) else value
    reserved = tuple(word & ~mask for word, mask in zip(words, _named_bits(), strict=True))
    registers = Registers(**values, reserved=reserved)
    if registers.kernel_type > 1:
        raise KmodelError(f"the KPU has no kernel type {registers.kernel_type} (0 is 1×1, 1 is 3×3)")
    if registers.pool_type not in Pool.__members__.values():
        raise KmodelError(f"the KPU has no pool type {registers.pool_type}")
    return registers


def _named_bits() -> list[int]:
    masks = [0] * 12
    for word, low, width, _ in FIELDS.values():
        masks[word] |= ((1 << width) - 1) << low
    return masks


FIELDS: Final[dict[str, tuple[int, int, int, bool]]] = {
    # name: (word, low bit, width, signed)
    "int_en": (0, 0, 1, False),
    "ram_flag": (0, 1, 1, False),
    "full_add": (0, 2, 1, False),
    "depth_wise": (0, 3, 1, False),
    "src_address": (1, 0, 15, False),
    "dst_address": (1, 32, 15, False),
    "in_channels_minus_1": (2, 0, 10, False),
    "out_channels_minus_1": (2, 32, 10, False),
    "out_channels_per_load_minus_1": (2, 48, 10, False),
    "in_width_minus_1": (3, 0, 10, False),
    "in_height_minus_1": (3, 10, 9, False),
    "out_width_minus_1": (3, 32, 10, False),
    "out_height_minus_1": (3, 42, 9, False),
    "kernel_type": (4, 0, 3, False),
    "pad_type": (4, 3, 1, False),
    "pool_type": (4, 4, 4, False),
    "first_stride": (4, 8, 1, False),
    "bypass_conv": (4, 9, 1, False),
    "load_para": (4, 10, 1, False),
    "dma_burst_size": (4, 16, 8, False),
    "pad_value": (4, 24, 8, False),
    "bn_address": (4, 32, 32, False),
    "load_coor": (5, 0, 1, False),
    "load_time_minus_1": (5, 1, 6, False),
    "para_size": (5, 15, 17, False),
    "para_address": (5, 32, 32, False),
    "coef_column_offset": (6, 0, 4, False),
    "coef_row_offset": (6, 4, 12, False),
    "channel_switch": (7, 0, 15, False),
    "row_switch": (7, 16, 4, False),
    "coef_size": (7, 20, 8, False),
    "coef_group": (7, 28, 3, False),
    "load_act": (7, 31, 1, False),
    "act_address": (7, 32, 32, False),
    "wb_channel_switch": (8, 0, 15, False),
    "wb_row_switch": (8, 16, 4, False),
    "wb_group": (8, 20, 3, False),
    "shr_w": (9, 0, 4, False),
    "shr_x": (9, 4, 4, False),
    "arg_w": (9, 8, 24, True),
    "arg_x": (9, 32, 24, True),
    "arg_add": (10, 0, 40, True),
    "send_data_out": (11, 0, 1, False),
    "channel_bytes_minus_1": (11, 16, 16, False),
    "dma_total_bytes_minus_1": (11, 32, 32, False),
}

if set(FIELDS) != {field.name for field in fields(Registers)} - {"reserved"}:
    raise AssertionError("FIELDS and Registers name different fields")
