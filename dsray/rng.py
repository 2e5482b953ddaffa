"""Keyed randomness: a number is a pure function of (seed, stage, row, copy, draw), never of what was drawn before.

The generator is SplitMix64 (Steele, Lea, Flood 2014) used as a counter-based hash: the key is mixed from the four
names, the counter is the draw. So block sizes, worker counts, order and retries change nothing.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def keys_of(ids: Sequence[str]) -> U64:
    """Row ids (hex, 32 digits as `keys.row_id` makes them) → [N] 64-bit row keys."""
    return np.array([int(i[:16], 16) for i in ids], dtype=np.uint64)


def bits(seed: int, stage: str, rows: U64, copy: int = 0, draws: int = 1) -> U64:
    """[N] row keys → [N, draws] independent uniform 64-bit words."""
    named = hashlib.sha256(f"{seed}/{stage}/{copy}".encode()).digest()[:8]
    with np.errstate(over="ignore"):
        key_N = _mix(_mix(np.asarray(rows, np.uint64) + _GOLDEN) ^ np.frombuffer(named, "<u8")[0])
        counter_D = (np.arange(1, draws + 1, dtype=np.uint64)) * _GOLDEN
        return _mix(key_N[:, None] + counter_D[None, :])


def uniform(seed: int, stage: str, rows: U64, copy: int = 0, draws: int = 1) -> NDArray[np.float64]:
    """[N] row keys → [N, draws] floats in [0, 1), 53 random bits each."""
    return (bits(seed, stage, rows, copy, draws) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, stage: str, rows: U64, copy: int = 0, draws: int = 1) -> NDArray[np.float64]:
    """[N] row keys → [N, draws] standard normal floats (Box and Muller 1958)."""
    pairs = (draws + 1) // 2
    u_NP2 = uniform(seed, stage, rows, copy, 2 * pairs).reshape(len(rows), pairs, 2)
    radius_NP = np.sqrt(-2.0 * np.log1p(-u_NP2[..., 0]))
    angle_NP = 2.0 * np.pi * u_NP2[..., 1]
    both_NP2 = np.stack([radius_NP * np.cos(angle_NP), radius_NP * np.sin(angle_NP)], axis=-1)
    return both_NP2.reshape(len(rows), 2 * pairs)[:, :draws]


def permutation(seed: int, stage: str, count: int, epoch: int = 0) -> NDArray[np.int64]:
    """A keyed order of `count` things; another for each epoch."""
    return np.argsort(bits(seed, stage, np.arange(count, dtype=np.uint64), epoch)[:, 0], kind="stable")


def _mix(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
