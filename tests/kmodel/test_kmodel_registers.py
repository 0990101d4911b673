from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import BatchNorm, pack_activation, pack_batch_norm
from pipeline.kmodel.memory import KpuLayout, kpu_bytes
from pipeline.kmodel.registers import FIELDS, Pool, Registers, decode_registers


def _value(width: int, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else st.integers(0, (1 << width) - 1)


LIMITED = {"kernel_type": st.integers(0, 1), "pool_type": st.integers(0, 9)}
REGISTERS = st.builds(
    Registers, **{name: LIMITED.get(name, _value(width, signed)) for name, (_, _, width, signed) in FIELDS.items()}
)


@given(REGISTERS)
def test_registers_survive_encoding(registers: Registers) -> None:
    encoded = registers.encode()
    assert len(encoded) == 96
    assert decode_registers(encoded) == registers


@given(st.binary(min_size=96, max_size=96))
def test_any_block_decodes_to_itself_or_is_refused(block: bytes) -> None:
    try:
        registers = decode_registers(block)
    except KmodelError:
        return
    assert registers.encode() == block


def test_fields_do_not_overlap() -> None:
    used = [0] * 12
    for word, low, width, _ in FIELDS.values():
        mask = ((1 << width) - 1) << low
        assert used[word] & mask == 0
        used[word] |= mask


def test_a_value_too_large_for_its_field_is_refused() -> None:
    with pytest.raises(KmodelError, match="src_address = 32768 does not fit its 15 bits"):
        Registers(src_address=1 << 15).encode()


@pytest.mark.parametrize(
    ("width", "group", "row_length", "pitch"),
    [
        (4, 4, 1, 16), (16, 4, 1, 16), (17, 2, 1, 32), (32, 2, 1, 32), (33, 1, 1, 64), (64, 1, 1, 64), (65, 1, 2, 64),
        (320, 1, 5, 64),
    ],
)  # fmt: skip
def test_layout_of_a_width(width: int, group: int, row_length: int, pitch: int) -> None:
    assert KpuLayout.of_width(width) == KpuLayout(group, row_length, pitch)


def test_map_bytes() -> None:
    assert kpu_bytes(3, 23, 35) == 4416  # golden n3's input, as nncase 1.9 uploads it
    assert kpu_bytes(12, 112, 112) == 172_032  # the first upload of YOLOX nano


def test_loads_needed_counts_beyond_the_registers_six_bits() -> None:
    # 3×3, 512 → 512: six output channels a load, 86 loads, of which the register can say 22.
    registers = Registers(
        in_channels_minus_1=511, out_channels_minus_1=511, out_channels_per_load_minus_1=5, kernel_type=1
    )
    assert registers.loads_needed == 86
    assert registers.weight_bytes == 9 * 512 * 512


def test_pool_strides() -> None:
    assert {pool: pool.stride for pool in Pool} == {
        Pool.NONE: 1, Pool.MAX_2_STRIDE_2: 2, Pool.MEAN_2_STRIDE_2: 2, Pool.MAX_4_STRIDE_4: 4, Pool.MEAN_4_STRIDE_4: 4,
        Pool.LEFT_TOP_2: 2, Pool.RIGHT_TOP_2: 2, Pool.LEFT_TOP_4: 4, Pool.MEAN_2_STRIDE_1: 1, Pool.MAX_2_STRIDE_1: 1,
    }  # fmt: skip


@given(
    st.lists(
        st.tuples(_value(24, True), _value(32, True), _value(4, False)),
        min_size=1,
        max_size=20,
    )
)
def test_batch_norm_fields(channels: list[tuple[int, int, int]]) -> None:
    mul, add, shift = (np.array(column, dtype=np.int64) for column in zip(*channels, strict=True))
    packed = pack_batch_norm(mul, add, shift)
    assert (packed.mul == mul).all()
    assert (packed.add == add).all()
    assert (packed.shift == shift).all()
    # The file's bytes may hold anything in the top four bits; the fields do not change, and masked() clears it.
    dirty = BatchNorm((np.frombuffer(packed.words, "<u8") | np.uint64(0xA << 60)).tobytes())
    assert (dirty.mul == mul).all()
    assert (dirty.shift == shift).all()
    assert dirty.masked() == packed


@given(
    st.lists(
        st.tuples(_value(36, True), _value(16, True), _value(8, False), _value(8, False)),
        min_size=16,
        max_size=16,
    )
)
def test_activation_fields(segments: list[tuple[int, int, int, int]]) -> None:
    start, mul, shift, add = (np.array(column, dtype=np.int64) for column in zip(*segments, strict=True))
    packed = pack_activation(start, mul, shift, add)
    assert len(packed.table) == 144
    for read, given_ in ((packed.start, start), (packed.mul, mul), (packed.shift, shift), (packed.add, add)):
        assert (read == given_).all()
