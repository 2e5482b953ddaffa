"""TensorBoard's event files of a training, written as it goes: losses, images/s, sample grids."""

import shutil
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


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
            self._flush()

    def grid(self, step: int, png: bytes) -> None:
        if step not in self.grids:
            self.grids[step] = png
            self._image(step, png)
            self._flush()

    def back(self, step: int) -> None:
        """Training goes on from there: what came after did not happen."""
        self.close()
        self.points = [point for point in self.points if point["step"] <= step]
        self.grids = {at: png for at, png in self.grids.items() if at <= step}
        self._begin()

    def close(self) -> None:
        if self.file:
            self.file.close()

    def _begin(self) -> None:
        from tensorboardX.record_writer import RecordWriter  # imports torch

        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file = RecordWriter(str(self.folder / f"events.out.tfevents.{time.time():.6f}.dsray"))
        except OSError:  # no training fails for its pictures
            self.file = None
        self._write(file_version="brain.Event:2")
        for point in self.points:
            self._scalars(point)
        for step, png in self.grids.items():
            self._image(step, png)
        self._flush()

    def _scalars(self, point: Mapping[str, float]) -> None:
        values = [
            {"tag": f"{'training' if name in ('images_per_s', 'attempt') else 'loss'}/{name}", "simple_value": value}
            for name, value in point.items() if name not in ("step", "images")
        ]  # fmt: skip
        self._write(step=int(point["step"]), summary={"value": values})

    def _image(self, step: int, png: bytes) -> None:
        width, height = struct.unpack(">II", png[16:24])  # IHDR is a PNG's first chunk
        image = {"height": height, "width": width, "colorspace": 4, "encoded_image_string": png}
        self._write(step=step, summary={"value": [{"tag": "samples", "image": image}]})

    def _write(self, **event: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        if self.file:
            self.file.write(Event(wall_time=time.time(), **event).SerializeToString())

    def _flush(self) -> None:
        if self.file:
            self.file.flush()
