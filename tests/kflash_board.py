"""A board at the other end of kflash's serial line: it answers as the K210's boot ROM and kflash's own stub do."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import kflash
import pytest
import serial

_END, _ESCAPE = b"\xc0", b"\xdb"
_OK = 0xE0
_BOOT, _FLASH_WRITE = 0xC5, 0xD4
_HEADER = struct.Struct("<HHIII")  # operation, nothing, checksum, address, length


class Board:
    """Keeps what is written into its flash.

    Attributes:
        written: address → bytes, a frame each, in the order of arrival.
    """

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {}
        self._answer = b""

    def write(self, packet: bytes) -> int:
        assert packet[:1] == packet[-1:] == _END
        body = packet[1:-1].replace(_ESCAPE + b"\xdc", _END).replace(_ESCAPE + b"\xdd", _ESCAPE)
        operation = body[0]
        if operation == _FLASH_WRITE:
            _, _, checksum, address, length = _HEADER.unpack(body[: _HEADER.size])
            data = body[_HEADER.size :]
            assert len(data) == length
            assert zlib.crc32(body[8:]) == checksum
            self.written[address] = data
        if operation != _BOOT:
            self._answer += _END + bytes([operation, _OK]) + _END
        return len(packet)

    def read(self, count: int) -> bytes:
        taken, self._answer = self._answer[:count], self._answer[count:]
        return taken

    def isOpen(self) -> bool:  # noqa: N802 - pyserial's names
        return True

    def setDTR(self, _: bool) -> None: ...  # noqa: N802

    def setRTS(self, _: bool) -> None: ...  # noqa: N802

    def flushInput(self) -> None: ...  # noqa: N802

    def flushOutput(self) -> None: ...  # noqa: N802

    def close(self) -> None: ...

    def flash(self, address: int, size: int) -> bytes:
        """What lies in flash; bytes that nobody wrote are erased (0xFF)."""
        content = bytearray(b"\xff" * (16 << 20))
        for start, data in self.written.items():
            content[start : start + len(data)] = data
        return bytes(content[address : address + size])


def flash_with_kflash(package: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Let kflash write a package to a board, and return the board."""
    board = Board()
    monkeypatch.setattr(serial, "Serial", lambda **_: board)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    kflash.KFlash().process(
        terminal=False, dev="a board", baudrate=115200, board="dan", file=str(package), noansi=True, slow_mode=True
    )
    return board
