"""Near-duplicates among 64-bit signatures: every pair within a Hamming radius, and the clusters that pairs make."""

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


def bands(signature_N: U64, radius: int) -> U64:
    """[N] signatures → [N, radius + 1] keys. Two signatures that differ in at most `radius` bits share one (pigeonhole)."""
    count = radius + 1
    edges = [64 * band // count for band in range(count + 1)]
    columns = []
    for band, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        mask = np.uint64((1 << (high - low)) - 1)
        mark = np.uint64(band << 32 if count > 1 else 0)
        columns.append((signature_N >> np.uint64(low)) & mask | mark)
    return np.stack(columns, axis=1)


def pairs(signature_N: U64, radius: int) -> tuple[I64, I64]:
    """thin"""
    order = np.arange(len(signature_N))
    hit = np.triu(np.bitwise_count(signature_N[:, None] ^ signature_N[None, :]) <= radius, 1)
    i, j = np.nonzero(hit)
    return order[i], order[j]


def clusters(count: int, i: I64, j: I64) -> I64:
    """thin"""
    label = np.arange(count)
    while True:
        low = np.minimum(label[i], label[j])
        new = label.copy()
        np.minimum.at(new, label[i], low)
        np.minimum.at(new, label[j], low)
        while not np.array_equal(new, new[new]):
            new = new[new]
        if np.array_equal(new, label):
            return label
        label = new
