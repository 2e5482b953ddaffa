"""Duplicates as select sees them: keys under which twins meet, edges between them, and who of a cluster stays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dsray import duplicates
from dsray.duplicates import I64

KEY = "key"

_EDGE = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("exact", pa.bool_()),
        ("quality_a", pa.float64()),
        ("quality_b", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Twin:
    """A row that has duplicates: its cluster and, unless it is the one that stays, the rule and whom it doubles."""

    cluster: str
    rule: str | None
    of: str | None


Twins = dict[str, Twin]


def keyed(facts: pa.Table, exact: bool, radius: int | None) -> pa.Table:
    """[id, digest, signature, quality, exact, key]: each row under its digest and under each band of its signature.

    Two rows within `radius` bits share a band (pigeonhole), so they meet under a key.
    """
    rows = facts.select(["id", "digest", "signature"]).append_column("quality", facts["side"].cast(pa.float64()))
    parts = []
    if exact:
        key_N = np.array([int(digest[:16], 16) for digest in rows["digest"].to_pylist()], np.uint64)
        parts.append(_under(rows, key_N, exact=True))
    if radius is not None:
        signed = rows.filter(rows["signature"].is_valid())
        for key_N in duplicates.bands(signed["signature"].to_numpy(), radius).T:
            parts.append(_under(signed, key_N, exact=False))
    return pa.concat_tables(parts)


def _under(rows: pa.Table, key_N: duplicates.U64, exact: bool) -> pa.Table:
    marks = pa.array(np.full(rows.num_rows, exact))
    return rows.append_column("exact", marks).append_column(KEY, pa.array(key_N, pa.uint64()))


def edges(met: pa.Table, radius: int | None) -> pa.Table:
    """The pairs of duplicates in one partition of keyed rows; enough of them to connect each cluster."""
    met = met.combine_chunks()
    near_N = ~met["exact"].to_numpy(zero_copy_only=False)
    first, second = _same_digest(met, np.flatnonzero(~near_N))
    pairs = [(first, second, True)]
    if radius is not None:
        rows = np.flatnonzero(near_N)
        i, j = duplicates.pairs(met["signature"].to_numpy()[rows], radius)
        different = met["id"].take(pa.array(rows[i])).to_numpy() != met["id"].take(pa.array(rows[j])).to_numpy()
        pairs.append((rows[i[different]], rows[j[different]], False))
    return pa.concat_tables([_edge_table(met, *pair) for pair in pairs])


def _same_digest(met: pa.Table, rows: I64) -> tuple[I64, I64]:
    """Each row of a digest, but the one with the smallest id, paired with that one."""
    table = met.select(["digest", "id"]).take(pa.array(rows)).append_column("row", pa.array(rows))
    table = table.sort_by([("digest", "ascending"), ("id", "ascending")])
    digest, row = table["digest"].to_numpy(), table["row"].to_numpy()
    if not len(row):
        return row, row
    starts = np.flatnonzero(np.r_[True, digest[1:] != digest[:-1]])
    heads = np.repeat(row[starts], np.diff(np.r_[starts, len(row)]))
    others = heads != row
    return heads[others], row[others]


def _edge_table(met: pa.Table, a: I64, b: I64, exact: bool) -> pa.Table:
    first, second = met.take(pa.array(a)), met.take(pa.array(b))
    marks = pa.array(np.full(len(a), exact))
    return pa.table([first["id"], second["id"], marks, first["quality"], second["quality"]], schema=_EDGE)


def resolve(edge_table: pa.Table) -> Twins:
    """Clusters by union-find in the driver: good for some 50 million duplicates, which have about 100 bytes each."""
    if not edge_table.num_rows:
        return {}
    a, b = edge_table["a"].to_pylist(), edge_table["b"].to_pylist()
    quality = dict(zip(a + b, edge_table["quality_a"].to_pylist() + edge_table["quality_b"].to_pylist(), strict=True))
    ids = sorted(quality)
    index = {row: number for number, row in enumerate(ids)}
    label_N = duplicates.clusters(len(ids), np.array([index[x] for x in a]), np.array([index[x] for x in b]))
    best: dict[int, str] = {}
    first: dict[int, str] = {}
    for row, label in zip(ids, label_N.tolist(), strict=True):  # ids ascend, so ties stay with the smallest
        first.setdefault(label, row)
        if label not in best or quality[row] > quality[best[label]]:
            best[label] = row
    same = {y: x for x, y, exact in zip(a, b, edge_table["exact"].to_pylist(), strict=True) if exact}
    twins: Twins = {}
    for row, label in zip(ids, label_N.tolist(), strict=True):
        if row == best[label]:
            twins[row] = Twin(first[label], None, None)
        elif row in same:
            twins[row] = Twin(first[label], "exact_duplicate", same[row])
        else:
            twins[row] = Twin(first[label], "near_duplicate", best[label])
    return twins
