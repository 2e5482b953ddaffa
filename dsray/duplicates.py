"""Near-duplicates among 64-bit signatures: every pair within a Hamming radius, and the clusters that pairs make.

Axes: N signatures, U distinct ones, P pairs. Search by blocks that agree: Manku, Jain, Das Sarma, "Detecting
near-duplicates for web crawling", WWW 2007.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_BITS = 64
_SAMPLE = 1 << 16
_BIG = 256  # from this size on a group is compared in tiles, not by offsets
_TILE = 1 << 20  # comparisons at once: 8 MB
_SORT_NS, _COMPARE_NS = 4.0, 5.0  # of one element and level, of one pair: they choose the plan, never the result


def bands(signature_N: U64, radius: int) -> U64:
    """[N] signatures → [N, radius + 1] keys. Two signatures within `radius` bits share a key: bits that differ leave
    at least one of radius + 1 bands untouched."""
    count = radius + 1
    cuts = [_BITS * band // count for band in range(count + 1)]
    keys_N = []
    for band, (low, high) in enumerate(pairwise(cuts)):
        bits = (np.asarray(signature_N, np.uint64) >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        keys_N.append(bits | np.uint64(band << 32))  # a band is at most 32 bits wide, unless it is the only one
    return np.stack(keys_N, axis=1)


def pairs(signature_N: U64, radius: int) -> tuple[I64, I64]:
    """[N] signatures → ([P], [P]) positions i < j, each pair once.

    Every pair of distinct signatures within `radius` bits is found between their first holders; every further holder
    of a signature is paired with the first. So 10^5 equal ones give 10^5 pairs; the clusters are those of all pairs.
    """
    signature_N = np.asarray(signature_N, np.uint64)
    distinct_U, first_U, which_N = np.unique(signature_N, return_index=True, return_inverse=True)
    others = np.flatnonzero(first_U[which_N] != np.arange(len(signature_N)))
    a, b = _close(distinct_U, radius)
    left, right = np.r_[first_U[which_N[others]], first_U[a]], np.r_[others, first_U[b]]
    return np.minimum(left, right).astype(np.int64), np.maximum(left, right).astype(np.int64)


def clusters(count: int, i: I64, j: I64) -> I64:
    """`count` things and pairs of them → [count] labels: the smallest member of each thing's cluster.

    Labels sink along pairs and jump to their own label's label (Shiloach and Vishkin 1982): rounds grow as log(count).
    """
    label = np.arange(count, dtype=np.int64)
    i, j = np.asarray(i, np.int64), np.asarray(j, np.int64)
    while len(i):
        low = np.minimum(label[i], label[j])
        np.minimum.at(label, label[i], low)
        np.minimum.at(label, label[j], low)
        while not np.array_equal(label, jumped := label[label]):
            label = jumped
        apart = label[i] != label[j]
        i, j = i[apart], j[apart]
    return label


def _close(distinct_U: U64, radius: int) -> tuple[I64, I64]:
    """Every pair of distinct signatures within the radius, once."""
    count = len(distinct_U)
    if radius <= 0 or count < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    entropy_64 = _entropy(distinct_U)
    agree = _plan(count, radius, float(entropy_64.sum()))
    blocks = _blocks(entropy_64, radius + agree)
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for chosen in combinations(range(len(blocks)), agree):
        mask = np.bitwise_or.reduce([blocks[block] for block in chosen])
        order = np.argsort(distinct_U & mask)
        for a, b in _grouped(distinct_U[order], mask, radius):
            a, b = order[a], order[b]
            differ = distinct_U[a] ^ distinct_U[b]
            for block in set(range(chosen[-1])) - set(chosen):  # a pair that agrees there too was met under that block
                unmet = (differ & blocks[block]) != 0
                a, b, differ = a[unmet], b[unmet], differ[unmet]
            found.append((a, b))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _entropy(distinct_U: U64) -> NDArray[np.float64]:
    """[64] entropy of each bit, lowest first, over a sample: a bit that is always the same tells nobody apart."""
    sample = np.ascontiguousarray(distinct_U[:: 1 + len(distinct_U) // _SAMPLE]).astype("<u8")
    one_64 = np.unpackbits(sample.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little").mean(axis=0)
    p_264 = np.clip(np.stack([one_64, 1 - one_64]), 1e-9, 1)
    return np.asarray(-(p_264 * np.log2(p_264)).sum(axis=0))


def _blocks(entropy_64: NDArray[np.float64], count: int) -> list[np.uint64]:
    """64 bits dealt to `count` masks, most telling first, so that every block tells about as much."""
    dealt = np.argsort(-entropy_64, kind="stable")
    return [np.bitwise_or.reduce(np.uint64(1) << dealt[block::count].astype(np.uint64)) for block in range(count)]


def _plan(count: int, radius: int, entropy: float) -> int:
    """The k of radius + k blocks, k of which agree in any pair within the radius. Larger: longer keys, more sorts."""

    def cost(agree: int) -> float:
        blocks = radius + agree
        compared = count * count * 0.5 ** (entropy * agree / blocks) / 2
        return comb(blocks, agree) * float(count * log2(count) * _SORT_NS + compared * _COMPARE_NS)

    return min(range(1, 5), key=cost)


def _grouped(sorted_U: U64, mask: np.uint64, radius: int) -> Iterator[tuple[I64, I64]]:
    """Pairs of positions within the radius, among neighbours that agree on the mask."""
    key_U = sorted_U & mask
    start = np.flatnonzero(np.r_[True, key_U[1:] != key_U[:-1]])
    size = np.diff(np.r_[start, len(key_U)])
    for low, length in zip(start[size >= _BIG].tolist(), size[size >= _BIG].tolist(), strict=True):
        yield from _tiled(sorted_U, low, low + length, radius)
    size[size >= _BIG] = 1
    end_U = np.repeat(start + size, np.diff(np.r_[start, len(key_U)]))
    left = np.flatnonzero(end_U - np.arange(len(key_U)) > 1)
    for offset in range(1, _BIG):
        if not len(left):
            return
        near = left[np.bitwise_count(sorted_U[left] ^ sorted_U[left + offset]) <= radius]
        yield near, near + offset
        left = left[end_U[left] - left > offset + 1]


def _tiled(sorted_U: U64, low: int, high: int, radius: int) -> Iterator[tuple[I64, I64]]:
    """Pairs of positions within the radius in one big group, a tile of the comparison matrix at a time."""
    side = int(_TILE**0.5)
    for top in range(low, high, side):
        rows = sorted_U[top : min(top + side, high), None]
        for left in range(top, high, side):
            near = np.bitwise_count(rows ^ sorted_U[None, left : min(left + side, high)]) <= radius
            a, b = np.nonzero(near)
            a, b = a + top, b + left
            once = a < b
            yield a[once], b[once]
