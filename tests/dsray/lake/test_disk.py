"""What is put is on the disk, byte for byte, whatever memory it lies in and whatever the file system can do."""

import errno
import fcntl
import hashlib
import os
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from dsray.lake import disk

MB = 2**20
SIZES = [0, 1, 4095, 4096, MB - 1, MB, MB + 1, 3 * MB + 4097]


def bytes_at(size: int, offset: int) -> memoryview:
    """Random bytes that begin so far behind the beginning of a block."""
    spare = np.random.default_rng(size).integers(0, 256, size + 2 * disk.BLOCK, np.uint8)
    first = -spare.ctypes.data % disk.BLOCK + offset
    return memoryview(spare)[first : first + size]


def direct(path: Path) -> bool:
    """Whether this file system takes O_DIRECT."""
    with FileIO(path, "w") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
        except OSError:
            return False
    return True


@pytest.mark.parametrize("offset", [0, 64])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_there(tmp_path: Path, size: int, offset: int):
    data = bytes_at(size, offset)
    with FileIO(tmp_path / "x", "x") as file:
        assert disk.put(file, data) == hashlib.sha256(data).hexdigest()
        assert file.write(b"end") == 3  # the file is as before, for whoever goes on writing
    assert (tmp_path / "x").read_bytes() == bytes(data) + b"end"


def test_a_digest_that_is_known_is_not_summed_up_again(tmp_path: Path):
    with FileIO(tmp_path / "x", "x") as file:
        assert disk.put(file, bytes_at(2 * MB, 0), "known") == "known"


def test_blocks_in_memory_go_past_the_cache_and_others_do_not(tmp_path: Path):
    if not direct(tmp_path / "probe"):
        pytest.skip("this file system has no O_DIRECT")
    for offset, size, gone in [(0, 3 * MB + 5, 3 * MB), (64, 3 * MB + 5, 0)]:
        with FileIO(tmp_path / f"{offset}", "x") as file:
            assert disk._past_cache(file, bytes_at(size, offset)) == gone


@pytest.mark.parametrize("when", ["at once", "later", "short"])
def test_a_file_system_that_cannot_gets_its_bytes_through_the_cache(tmp_path: Path, when: str):
    class Refuses(FileIO):
        """Says EINVAL to the first direct write or to the next one, or takes less than a block of it."""

        direct = 0

        def write(self, data: memoryview) -> int:  # type: ignore[override]
            if fcntl.fcntl(self, fcntl.F_GETFL) & os.O_DIRECT:
                self.direct += 1
                if when == "short":
                    fcntl.fcntl(self, fcntl.F_SETFL, fcntl.fcntl(self, fcntl.F_GETFL) & ~os.O_DIRECT)
                    return super().write(data[:1000])
                if when == "at once" or self.direct == 2:
                    raise OSError(errno.EINVAL, "Invalid argument")
                return super().write(data[: disk.BLOCK])
            return super().write(data)

    data = bytes_at(2 * MB + 7, 0)
    with Refuses(tmp_path / "x", "x") as file:
        assert disk.put(file, data) == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "x").read_bytes() == bytes(data)


def test_a_disk_that_is_full_is_an_error_in_either_thread(tmp_path: Path):
    class Full(FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            raise OSError(errno.ENOSPC, "No space left on device")

    for size in (5, 2 * MB):
        with Full(tmp_path / f"{size}", "x") as file, pytest.raises(OSError, match="No space"):
            disk.put(file, bytes_at(size, 0))
