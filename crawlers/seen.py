"""A set of 64-bit keys that grows to many millions: sorted in an array, but for the newest, so 8 bytes a key."""

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_NEWEST = 100_000


class Seen:
    """Two URLs of ten million share a key with a chance of 3 in a million (birthday bound, n²/2⁶⁵)."""

    def __init__(self, keys: U64 | None = None) -> None:
        self.sorted = np.zeros(0, np.uint64) if keys is None else keys
        self.newest: set[int] = set()

    def add(self, key: int) -> bool:
        """True when the key was not there."""
        if key in self:
            return False
        self.newest.add(key)
        if len(self.newest) >= _NEWEST:
            fresh = np.fromiter(self.newest, np.uint64, len(self.newest))
            self.sorted = np.sort(np.concatenate([self.sorted, fresh]), kind="stable")
            self.newest.clear()
        return True

    def __contains__(self, key: int) -> bool:
        if key in self.newest:
            return True
        at = int(np.searchsorted(self.sorted, np.uint64(key)))
        return at < len(self.sorted) and int(self.sorted[at]) == key
