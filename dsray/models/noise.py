"""Gaussian noise for privacy: nobody may be able to draw it again, so it does not come from a recipe's seed.

It is drawn from SHAKE-256 of (secret, purpose, what it is added to). The secret is the operating system's entropy, or
that of `DSRAY_NOISE_SECRET`: with it a build can be repeated, and its noise is the same only for the very same sums,
so two releases of the same rows cost their privacy once, and sums that differ in a row never share noise. Who has the
secret has the rows' privacy.
"""

import hashlib
import os
import secrets

import numpy as np
from numpy.typing import NDArray

VARIABLE = "DSRAY_NOISE_SECRET"

Floats = NDArray[np.float64]

_SUMMANDS = 4


def secret() -> bytes:
    """32 bytes: those of the environment, or new ones."""
    named = os.environ.get(VARIABLE)
    return hashlib.sha256(named.encode()).digest() if named else secrets.token_bytes(32)


def noised(sums: Floats, sigma: float, purpose: str, key: bytes) -> Floats:
    """The sums with independent N(0, σ²) on each."""
    exact = np.ascontiguousarray(sums, np.float64)
    about = [purpose.encode(), repr(exact.shape).encode(), np.float64(sigma).tobytes(), exact.tobytes()]
    return np.asarray(exact + sigma * normals(exact.size, key, *about).reshape(exact.shape))


def normals(count: int, key: bytes, *about: bytes) -> Floats:
    """[count] standard normals.

    Each is the sum of four over 2: a single one, made by Box and Muller in floating point, has gaps that give away what
    lies under it (Mironov 2012; Holohan and Braghin 2021).
    """
    u = uniforms(count * _SUMMANDS * 2, key, *about).reshape(count, _SUMMANDS, 2)
    normal_NS = np.sqrt(-2 * np.log(u[..., 0])) * np.cos(2 * np.pi * u[..., 1])
    return np.asarray(normal_NS.sum(1) / _SUMMANDS**0.5)


def uniforms(count: int, key: bytes, *about: bytes) -> Floats:
    """[count] numbers in (0, 1), of 53 random bits."""
    said = hashlib.shake_256(key)
    for part in about:
        said.update(len(part).to_bytes(8, "little") + part)
    words = np.frombuffer(said.digest(count * 8), "<u8")
    return np.asarray(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)
