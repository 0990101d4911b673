"""The chip's limits and the size of feature maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kpu.limits import MAX_CHANNELS, MAX_WEIGHT_LOADS, weight_loads, widest_output
from pipeline.kpu.memory.feature_map import layout, map_bytes, map_rows

CHANNELS = st.integers(1, MAX_CHANNELS)


@pytest.mark.parametrize(
    ("in_channels", "widest"), [(256, 832), (320, 640), (384, 512), (512, 384), (640, 320), (768, 256), (1024, 192)]
)
def test_widest_output_of_3x3_layers(in_channels: int, widest: int) -> None:
    assert widest_output(in_channels, 3) == widest
    assert weight_loads(in_channels, widest, 3) == MAX_WEIGHT_LOADS
    assert weight_loads(in_channels, widest + 1, 3) == MAX_WEIGHT_LOADS + 1


def test_loads_that_nncase_encodes_wrongly() -> None:
    assert weight_loads(512, 512, 3) == 86


@given(CHANNELS)
def test_1x1_and_depthwise_layers_always_fit(channels: int) -> None:
    assert weight_loads(channels, MAX_CHANNELS, 1) <= MAX_WEIGHT_LOADS
    assert weight_loads(channels, channels, 3, depthwise=True) == 1


@given(CHANNELS, CHANNELS, st.sampled_from([1, 3]))
def test_loads_times_channels_a_load_hold_every_channel(in_channels: int, out_channels: int, kernel: int) -> None:
    loads = weight_loads(in_channels, out_channels, kernel)
    a_load = max(1, min(out_channels, 30720 // (kernel**2 * in_channels)))
    assert (loads - 1) * a_load < out_channels <= loads * a_load


@pytest.mark.parametrize(
    ("width", "channels_a_row", "rows_a_line"),
    [(4, 4, 1), (16, 4, 1), (17, 2, 1), (32, 2, 1), (33, 1, 1), (64, 1, 1), (65, 1, 2), (320, 1, 5), (512, 1, 8)],
)
def test_layout_by_width(width: int, channels_a_row: int, rows_a_line: int) -> None:
    place = layout(width)
    assert (place.channels_a_row, place.rows_a_line) == (channels_a_row, rows_a_line)
    assert place.channels_a_row * place.pitch == 64


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 32, 32), 4096), ((16, 32, 32), 16384), ((10, 4, 4), 768), ((17, 16, 16), 5120), ((3, 34, 34), 6528)],
)
def test_map_bytes_of_real_kmodels(shape: tuple[int, int, int], size: int) -> None:
    assert map_bytes(*shape) == size  # registers of kmodels from nncase 1.9.0.20230322


@given(CHANNELS, st.integers(4, 256), st.integers(4, 512))
def test_a_map_holds_its_pixels(channels: int, height: int, width: int) -> None:
    assert map_bytes(channels, height, width) == 64 * map_rows(channels, height, width)
    assert map_bytes(channels, height, width) >= channels * height * width
