"""What a board means by an error, for the programs that run there."""

from __future__ import annotations

from collections.abc import Mapping

BOARD_ERRORS: Mapping[int, str] = {
    2001: "wrong argument: an address in flash or a path that ends in .kmodel is wanted",
    2002: "unknown or unsupported kmodel version: also what erased flash or a wrong address looks like",
    2003: "the file is empty or over 6 MiB; from flash also: a kmodel v5",
    2005: "the file cannot be read: is the SD card in, is the name right?",
    2006: "no memory: unload another model, use smaller frames, or a smaller model",
    2007: "the first layer is not a convolution of the KPU",
    2008: "the model cannot be run: it is damaged, or has a layer that the firmware does not know",
    2009: "more than 5 models are loaded: kpu.deinit is missing",
    2012: "kpu.set_outputs: width * height * channels * 4 is not the output's size",
    2013: "the outputs of a kmodel v4 are not set: call kpu.set_outputs first",
    2015: "a kmodel v5 cannot be streamed from flash",
}
"""Errors of MaixPy's ``kpu`` module (its Maix_kpu.c, and the released loader libraries run in an emulated K210)."""

OLDEST_OFFSET = 2000
"""MaixPy v0.5.0 and older print a code without the 2000."""
