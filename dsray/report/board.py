"""TensorBoard's event files of a training, written as it goes: losses, images/s, sample grids. No TensorBoard needed.

A file is a row of records: length (uint64), its checksum, data, its checksum; the data are the protocol buffer `Event`
(tensorflow/core/util/event.proto). Written by hand, since tensorboardX imports torch, 3.5 s of CPU, for the same bytes.
"""

import os
import shutil
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reversed


class Board:
    """One run's folder. It begins anew with what is known; a step is written once, in order, until `back`."""

    def __init__(self, folder: Path, points: Iterable[Mapping[str, float]], grids: Mapping[int, bytes]) -> None:
        self.folder = folder
        self.points = [dict(point) for point in points]
        self.grids = dict(grids)
        self._begin()

    def add(self, point: Mapping[str, float]) -> None:
        """A point of the curve: `step` and scalars by name. One that was heard before is not written again."""
        if not self.points or point["step"] > self.points[-1]["step"]:
            self.points.append(dict(point))
            self._scalars(point)
            self.file.flush()

    def grid(self, step: int, png: bytes) -> None:
        if step not in self.grids:
            self.grids[step] = png
            self._image(step, png)
            self.file.flush()

    def back(self, step: int) -> None:
        """Training goes on from there: what came after did not happen."""
        self.file.close()
        self.points = [point for point in self.points if point["step"] <= step]
        self.grids = {at: png for at, png in self.grids.items() if at <= step}
        self._begin()

    def close(self) -> None:
        self.file.close()

    def _begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        now = time.time()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"events.out.tfevents.{now:.6f}.dsray"
            path.touch()
        except OSError:  # no training fails for its pictures
            path = Path(os.devnull)
        self.file = path.open("wb")
        self.file.write(record(_double(1, now) + _bytes(3, b"brain.Event:2")))
        for point in self.points:
            self._scalars(point)
        for step, png in self.grids.items():
            self._image(step, png)
        self.file.flush()

    def _scalars(self, point: Mapping[str, float]) -> None:
        for name, value in point.items():
            if name not in ("step", "images"):
                group = "training" if name in ("images_per_s", "attempt") else "loss"
                said = _bytes(1, f"{group}/{name}".encode()) + _key(2, 5) + struct.pack("<f", value)
                self.file.write(_event(int(point["step"]), said))

    def _image(self, step: int, png: bytes) -> None:
        width, height = struct.unpack(">II", png[16:24])  # IHDR is a PNG's first chunk
        image = _integer(1, height) + _integer(2, width) + _integer(3, 4) + _bytes(4, png)
        self.file.write(_event(step, _bytes(1, b"samples") + _bytes(4, image)))


def record(data: bytes) -> bytes:
    """Framed, each part with its masked CRC-32C."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _event(step: int, value: bytes) -> bytes:
    return record(_double(1, time.time()) + _integer(2, step) + _bytes(5, _bytes(1, value)))


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _integer(number: int, value: int) -> bytes:
    return _key(number, 0) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _key(number, 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _varint(len(value)) + value


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


_TABLE = _table()


def _masked(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
