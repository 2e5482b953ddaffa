"""board: what is written is read back by tensorboardX's own protocol buffers and checksum, once and in order."""

import struct

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from dsray.report.board import Board
from rows import drawing, png

GRID = png(drawing(3))


def events(folder):
    """Every event of a folder, checksums verified."""
    (path,) = folder.iterdir()
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        for part, crc in ((data[:8], data[8:12]), (data[12 : 12 + length], data[12 + length : 16 + length])):
            whole = crc32c(part)
            assert struct.unpack("<I", crc)[0] == ((whole >> 15 | whole << 17) + 0xA282EAD8) & 0xFFFFFFFF
        event = Event.FromString(data[12 : 12 + length])
        assert event.wall_time > 1e9
        yield event
        data = data[16 + length :]


def scalars(folder):
    return [
        (event.step, value.tag, pytest.approx(value.simple_value))
        for event in events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


def point(step, loss):
    return {"step": step, "images": 10 * step, "images_per_s": 7.5, "g_loss": loss}


def test_losses_speed_and_grids_are_read_back(tmp_path):
    board = Board(tmp_path / "run", [point(2, 0.5)], {})
    board.add(point(400, -3.25))
    board.grid(400, GRID)
    assert next(iter(events(board.folder))).file_version == "brain.Event:2"
    assert scalars(board.folder) == [
        (2, "training/images_per_s", 7.5),
        (2, "loss/g_loss", 0.5),
        (400, "training/images_per_s", 7.5),
        (400, "loss/g_loss", -3.25),
    ]
    *_, last = events(board.folder)
    image = last.summary.value[0].image
    assert (last.step, last.summary.value[0].tag, image.encoded_image_string) == (400, "samples", GRID)
    assert (image.height, image.width) == drawing(3).shape[:2]


def test_a_resumed_run_has_no_point_twice(tmp_path):
    first = Board(tmp_path / "run", [], {})
    for step in (10, 20, 30):
        first.add(point(step, step))
    first.grid(20, GRID)
    for step in (20, 30, 40):  # workers began again at 10
        first.add(point(step, step))
    first.grid(20, GRID)
    assert [step for step, tag, _ in scalars(first.folder) if tag == "loss/g_loss"] == [10, 20, 30, 40]
    first.close()
    second = Board(tmp_path / "run", [point(10, 10), point(20, 20)], {20: GRID})  # the driver began again
    second.add(point(30, 30))
    assert [step for step, tag, _ in scalars(second.folder) if tag == "loss/g_loss"] == [10, 20, 30]
    assert sum(value.tag == "samples" for event in events(second.folder) for value in event.summary.value) == 1


def test_what_training_turned_back_from_is_gone(tmp_path):
    board = Board(tmp_path / "run", [point(10, 1), point(20, 2)], {20: GRID})
    board.back(10)
    board.add(point(20, 3))
    assert [(step, value) for step, tag, value in scalars(board.folder) if tag == "loss/g_loss"] == [(10, 1), (20, 3)]
    assert all(value.tag != "samples" for event in events(board.folder) for value in event.summary.value)
