"""A thing is named by what made it: content digests, and keys over stage, version, parameters and inputs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(data: bytes | memoryview) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with one spelling: sorted keys, no blanks. Raises ValueError or TypeError on what JSON cannot say."""
    return _ENCODER.encode(value).encode()


def key(stage: str, version: int, params: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """The name of what `stage` makes of `inputs` (content digests, in order) with the parameters that matter."""
    return digest(canonical({"stage": stage, "version": version, "params": params, "inputs": list(inputs)}))


def row_id(*parts: str) -> str:
    """A row's identity, 32 hex digits: stable over crawls, shards and machines."""
    return digest("\n".join(parts).encode())[:32]
