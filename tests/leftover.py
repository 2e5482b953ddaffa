"""What is left of something on a lake of files, found by reading all of it."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def left(folder: Path, texts: set[str], data: set[bytes]) -> list[str]:
    """The files of a lake in which one of these is to be found, however it is packed."""
    words = data | {text.encode() for text in texts}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            plain = path.read_bytes()
            parts = [plain]
            if path.suffix == ".gz":
                parts.append(gzip.decompress(plain))
            elif plain[:4] == b"PAR1":
                parts += values(pq.read_table(pa.BufferReader(plain)).to_pylist())
            if any(word in part for part in parts for word in words):
                found.append(str(path.relative_to(folder)))
    return found


def values(value) -> list[bytes]:
    """All texts and bytes in nested values."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [one for part in value for one in values(part)]
    return [value.encode()] if isinstance(value, str) else [value] if isinstance(value, bytes) else []
