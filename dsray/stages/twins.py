"""Duplicates as select sees them: keys under which twins meet, edges between them, and who of a cluster stays.

Ids are 16 bytes here and digests their first 16, so that a row costs 40 bytes under each of its keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray import duplicates
from dsray.duplicates import I64, U64

Ids = NDArray[np.bytes_]

KEY = "key"

_ID = pa.binary(16)
_MET = pa.schema(
    [
        ("id", _ID),
        ("quality", pa.float64()),
        ("exact", pa.bool_()),
        ("word", pa.uint64()),  # the signature, or the second 8 bytes of the digest
        (KEY, pa.uint64()),  # a band of the signature, or the first 8 bytes of the digest
    ]
)
_EDGE = pa.schema(
    [("a", _ID), ("b", _ID), ("exact", pa.bool_()), ("quality_a", pa.float64()), ("quality_b", pa.float64())]
)


@dataclass(frozen=True)
class Twin:
    """A row that has duplicates: its cluster and, unless it is the one that stays, the rule and whom it doubles."""

    cluster: str
    rule: str | None
    of: str | None


@dataclass(frozen=True, eq=False)
class Twins(Mapping[str, Twin]):
    """Row id → Twin, 40 bytes a row. Axis U: the rows that have duplicates, by id; other rows are named by place."""

    id_U: Ids
    first_U: I64  # the row of its cluster with the smallest id
    best_U: I64  # the row of its cluster that stays
    same_U: I64  # a row with the same bytes, or -1

    def __getitem__(self, row: str) -> Twin:
        place = int(np.searchsorted(self.id_U, np.bytes_(bytes.fromhex(row))))
        if place == len(self) or self._name(place) != row:
            raise KeyError(row)
        cluster, best, same = self._name(self.first_U[place]), self.best_U[place], self.same_U[place]
        if best == place:
            return Twin(cluster, None, None)
        if same >= 0:
            return Twin(cluster, "exact_duplicate", self._name(same))
        return Twin(cluster, "near_duplicate", self._name(best))

    def __iter__(self) -> Iterator[str]:
        return map(self._name, range(len(self)))

    def __len__(self) -> int:
        return len(self.id_U)

    def _name(self, place: int) -> str:
        return self.id_U[place : place + 1].tobytes().hex()


def keyed(facts: pa.Table, exact: bool, radius: int | None, quality: str) -> pa.Table:
    """[id, quality, exact, word, key]: each row under its digest and under each band of its signature.

    Two rows within `radius` bits share a band (pigeonhole), so they meet under a key.
    """
    rows = pa.table([_packed(facts["id"]), facts[quality].cast(pa.float64())], ["id", "quality"])
    parts = []
    if exact:
        halves = pc.utf8_slice_codeunits(facts["digest"], 0, 32)
        key_N, word_N = np.frombuffer(_packed(halves).buffers()[1], ">u8").reshape(-1, 2).astype(np.uint64).T
        parts.append(_under(rows, key_N, word_N, exact=True))
    if radius is not None:
        signed = facts["signature"].is_valid()
        signature_N = facts["signature"].filter(signed).to_numpy()
        for key_N in duplicates.bands(signature_N, radius).T:
            parts.append(_under(rows.filter(signed), key_N, signature_N, exact=False))
    return pa.concat_tables(parts)


def _packed(hexes: pa.ChunkedArray) -> pa.FixedSizeBinaryArray:
    """32 hex digits → 16 bytes."""
    data = pa.py_buffer(bytes.fromhex("".join(hexes.to_pylist())))
    return pa.FixedSizeBinaryArray.from_buffers(_ID, len(hexes), [None, data])


def _under(rows: pa.Table, key_N: U64, word_N: U64, exact: bool) -> pa.Table:
    marks = np.full(rows.num_rows, exact)
    return pa.table([rows["id"], rows["quality"], marks, np.ascontiguousarray(word_N), np.ascontiguousarray(key_N)],
                    schema=_MET)  # fmt: skip


def edges(met: pa.Table, radius: int | None) -> pa.Table:
    """The pairs of duplicates in one partition of keyed rows; enough of them to connect each cluster."""
    exact_N = met["exact"].to_numpy()
    id_N, word_N = _ids(met["id"]), met["word"].to_numpy()
    rows = np.flatnonzero(exact_N)
    first, second = _same_bytes(id_N[rows], met[KEY].to_numpy()[rows], word_N[rows])
    pairs = [_edges(met, rows[first], rows[second], exact=True)]
    if radius is not None:
        rows = np.flatnonzero(~exact_N)
        first, second = (rows[side] for side in duplicates.pairs(word_N[rows], radius))
        others = id_N[first] != id_N[second]  # a row meets itself where two of its bands fall into one partition
        pairs.append(_edges(met, first[others], second[others], exact=False))
    return pa.concat_tables(pairs)


def _same_bytes(id_N: Ids, key_N: U64, word_N: U64) -> tuple[I64, I64]:
    """Each row of a digest, but the one with the smallest id, paired with that one."""
    order = np.lexsort((id_N, word_N, key_N))
    key_N, word_N = key_N[order], word_N[order]
    new_N = np.r_[True, (key_N[1:] != key_N[:-1]) | (word_N[1:] != word_N[:-1])][: len(order)]
    head_N = order[np.flatnonzero(new_N)[np.cumsum(new_N) - 1]]
    return head_N[~new_N], order[~new_N]


def _edges(met: pa.Table, a: I64, b: I64, exact: bool) -> pa.Table:
    ends = met.select(["id", "quality"])
    first, second = ends.take(pa.array(a)), ends.take(pa.array(b))
    columns = [first["id"], second["id"], np.full(len(a), exact), first["quality"], second["quality"]]
    return pa.table(columns, schema=_EDGE)


def resolve(edge_table: pa.Table) -> Twins:
    """Clusters by union-find in the driver, whose best row is the one of most quality, then of the smallest id.

    Good for some 10 million edges, at about 200 bytes each while it runs.
    """
    a, b, exact = _ids(edge_table["a"]), _ids(edge_table["b"]), edge_table["exact"].to_numpy()
    quality = np.concatenate([edge_table["quality_a"].to_numpy(), edge_table["quality_b"].to_numpy()])
    id_U, one_U, place = np.unique(np.concatenate([a, b]), return_index=True, return_inverse=True)
    a_E, b_E = place[: len(a)], place[len(a) :]
    first_U = duplicates.clusters(len(id_U), a_E, b_E)
    order = np.lexsort((-quality[one_U], first_U))  # stable, so that ties stay with the smallest id
    _, start, cluster_U = np.unique(first_U[order], return_index=True, return_inverse=True)
    best_U, same_U = np.empty_like(first_U), np.full_like(first_U, -1)
    best_U[order] = order[start][cluster_U]
    same_U[b_E[exact]] = a_E[exact]
    return Twins(id_U, first_U, best_U, same_U)


def _ids(column: pa.ChunkedArray) -> Ids:
    """16-byte ids as NumPy compares and sorts them; empty chunks have no bytes."""
    parts = [np.frombuffer(chunk.buffers()[1], "S16")[chunk.offset :][: len(chunk)] for chunk in column.chunks if chunk]
    return np.concatenate([np.zeros(0, "S16"), *parts])
