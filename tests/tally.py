"""A kind for tests that is no picture: a sample is 2 × 3 × 2 bytes, and a mix the mean weighed by its share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dsray import rng
from dsray.collection import Model
from dsray.kinds import Undecodable

FACTS = pa.schema([("total", pa.float64())])
MEANINGS = {"total": "Sum of the bytes."}
FLAGS: Mapping[str, Any] = {}
BOUNDS: Mapping[str, Any] = {}
QUALITY = "total"
COLUMN = "numbers"
FEATURE = {"bytes": {"dtype": "binary", "_type": "Value"}, "path": {"dtype": "string", "_type": "Value"}}


class Render(Model):
    rows: int = 2


class Augment(Model):
    add: int = 0
    mix: bool = False


def decode(payload):
    if not payload:
        raise Undecodable("empty")
    return payload


def measure(decoded, own=None):
    return {"signature": 0, "total": float(np.frombuffer(decoded, np.uint8).sum())}


def render(decoded, spec, own=()):
    return decoded[: 6 * spec["rows"]], []


def place(objects, frame):
    return list(objects)


def extension(spec):
    return "bin"


def thumbnail(payload, side):
    return None


def plan(spec, seed, ids, copy):
    u_N2 = rng.uniform(seed, "tally", rng.keys_of(ids), copy, draws=2)
    return [
        {"add": int(u[0] * (spec.get("add", 0) + 1))}
        | ({"mix": {"how": "mixup", "share": float(u[1])}} if spec.get("mix") else {})
        for u in u_N2
    ]


def apply(media, params, objects=(), partner=None, own=()):
    array = to_arrays([media])[0] + np.uint8(params["add"])
    if partner is not None:
        share, other = params["mix"]["share"], to_arrays([partner[0]])[0]
        array = np.rint(share * array + (1 - share) * other).astype(np.uint8)
    for step in own:
        array = step(array)
    return from_arrays(array[None])[0], [*objects, *(partner[1] if partner else ())]


def to_arrays(media):
    rows = [np.frombuffer(payload, np.uint8).reshape(-1, 3, 2) for payload in media]
    return np.stack(rows) if rows else np.zeros((0, 2, 3, 2), np.uint8)


def from_arrays(array):
    return [one.tobytes() for one in array]


def invert(array, u, by=255):
    """An augmentation of one's own; it leaves some as they are."""
    return (by - array).astype(np.uint8) if u[0] < 0.8 else array


def crop(array, u):
    """One that breaks the rule: the shape changes."""
    return array[:1]
