"""Duplicates: keys under which twins meet, pairs of them joined to clusters, and who of a cluster stays."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import duplicates
from dsray.duplicates import I64, U64
from dsray.engine.exchange import Exchange, Handle
from dsray.selection import Duplicates
from dsray.stages.choose.components import connect, stars
from dsray.stages.choose.state import ID, alive, group_of, merged, packed_hex

KEY = "key"

Orientations = Callable[[U64], U64]
"""[N] signatures → [N, 8] those of the turned and mirrored rows, the first unchanged."""

_MET = pa.schema(
    [
        ("place", pa.uint64()),
        ("exact", pa.bool_()),
        ("word", pa.uint64()),  # the signature, or the second 8 bytes of the digest
        (KEY, pa.uint64()),  # a band of the signature, or the first 8 bytes of the digest
    ]
)
_PARTITION_WORDS = 2_500_000
_FOUND = pa.schema(
    [("place", pa.uint64()), ("rule", pa.string()), ("value", pa.string()), ("threshold", pa.string()), ("cluster", ID),
     ("twinned", pa.bool_())]
)  # fmt: skip


def find(
    exchange: Exchange, states: Sequence[Handle], rows: int, spec: Duplicates, orientations: Orientations | None
) -> list[Handle]:
    """The states with every row's cluster, and a rule for each row that doubles another."""
    bands = 0 if spec.radius is None else (spec.radius + 1) * (8 if orientations else 1)
    partitions = 1 + rows * (bands + spec.exact) // _PARTITION_WORDS
    home, inputs = group_of(len(states)), [(state,) for state in states]
    load = partial(keyed, exact=spec.exact, radius=spec.radius, orientations=orientations)
    met = exchange.round(inputs, load, KEY, partial(pairs, radius=spec.radius), partitions)
    joined = [(part,) for part in connect(exchange, met)]
    members = exchange.round(joined, _ends, "place", _members, len(states), of=home, beside=states)
    decided = partial(decide, exact=spec.exact, threshold=f"radius {spec.radius}")
    found = exchange.round([(part,) for part in members], _same, "root", decided, partitions)
    return exchange.round([(part,) for part in found], _same, "place", merged, len(states), of=home, beside=states)


def keyed(state: pa.Table, exact: bool, radius: int | None, orientations: Orientations | None = None) -> pa.Table:
    """[place, exact, word, key]: each row under its digest and under each band of its signature.

    Two signatures within `radius` bits share a band (pigeonhole), so they meet under a key. With orientations a row is
    there under all eight: whoever is near one of them meets it.
    """
    rows = alive(state)
    place_N = rows["place"].to_numpy()
    parts = [_MET.empty_table()]
    if exact:
        parts.append(_under(place_N, rows["digest_a"].to_numpy(), rows["digest_b"].to_numpy(), exact=True))
    if radius is not None:
        signed = rows["signature"].is_valid()
        signature_N, place_N = rows["signature"].filter(signed).to_numpy(), place_N[signed.to_numpy()]
        every_NT = orientations(signature_N) if orientations else signature_N[:, None]
        for word_N in every_NT.T:
            for key_N in duplicates.bands(word_N, radius).T:
                parts.append(_under(place_N, key_N, word_N, exact=False))
    return pa.concat_tables(parts)


def pairs(met: pa.Table, radius: int | None) -> pa.Table:
    """The duplicates among the rows of one partition, as stars: fewer pairs than rows."""
    exact_N, place_N, word_N = met["exact"].to_numpy(), met["place"].to_numpy(), met["word"].to_numpy()
    rows = np.flatnonzero(exact_N)
    first, second = (rows[side] for side in _same_bytes(met[KEY].to_numpy()[rows], word_N[rows]))
    if radius is not None:
        rows = np.flatnonzero(~exact_N)
        rows = rows[np.lexsort((place_N[rows], word_N[rows]))]  # a row is here under several bands: once is enough
        again_N = _heads(word_N[rows], place_N[rows]) != np.arange(len(rows))
        rows = rows[~again_N]
        near = (rows[side] for side in duplicates.pairs(word_N[rows], radius))
        first, second = (np.concatenate(both) for both in zip((first, second), near, strict=True))
    return stars(place_N[first], place_N[second])


def decide(members: pa.Table, exact: bool, threshold: str) -> pa.Table:
    """Of each cluster the row of most quality stays, then the one with the smallest id; the cluster has the smallest
    id as its name. A row whose bytes an earlier one has is an exact duplicate of it, others of the row that stays."""
    if not members.num_rows:
        return _FOUND.empty_table()
    members = members.sort_by([("root", "ascending"), ("id", "ascending"), ("place", "ascending")]).combine_chunks()
    root_N, quality_N = members["root"].to_numpy(), members["quality"].to_numpy()
    first_N = _heads(root_N)
    order = np.lexsort((-quality_N, root_N))  # stable, so that ties stay with the smallest id; NaN comes last
    best_N = np.empty_like(order)
    best_N[order] = order[_heads(root_N[order])]
    same_N = np.arange(len(order))
    if exact:
        a_N, b_N = members["digest_a"].to_numpy(), members["digest_b"].to_numpy()
        order = np.lexsort((b_N, a_N, root_N))
        same_N[order] = order[_heads(root_N[order], a_N[order], b_N[order])]
    place = np.arange(len(order))
    stays, first = best_N == place, same_N == place
    doubled = ~first | (exact & (same_N[best_N] == same_N))
    ids = members["id"].combine_chunks()
    rule = np.where(doubled, "exact_duplicate", "near_duplicate")
    of = packed_hex(ids.take(pa.array(np.where(first, best_N, same_N))))
    words = np.where(doubled, "same bytes", threshold)
    columns = [pa.array(rule.tolist(), mask=stays), pc.if_else(pa.array(stays), None, of),
               pa.array(words.tolist(), mask=stays)]  # fmt: skip
    cluster = ids.take(pa.array(first_N))
    return pa.table([members["place"], *columns, cluster, np.full(len(place), True)], schema=_FOUND)


def _under(place_N: U64, key_N: U64, word_N: U64, exact: bool) -> pa.Table:
    marks = np.full(len(place_N), exact)
    return pa.table([place_N, marks, np.ascontiguousarray(word_N), np.ascontiguousarray(key_N)], schema=_MET)


def _same_bytes(key_N: U64, word_N: U64) -> tuple[I64, I64]:
    """Each row of a digest, but the first, paired with the first."""
    order = np.lexsort((word_N, key_N))
    head_N = order[_heads(key_N[order], word_N[order])]
    return head_N[head_N != order], order[head_N != order]


def _heads(*sorted_N: np.ndarray[Any, Any]) -> I64:
    """[N] for each element of sorted columns the position of the first that is equal."""
    new_N = np.zeros(len(sorted_N[0]), bool)
    new_N[:1] = True
    for column_N in sorted_N:
        new_N[1:] |= column_N[1:] != column_N[:-1]
    heads: I64 = np.flatnonzero(new_N)[np.cumsum(new_N) - 1] if len(new_N) else np.zeros(0, np.int64)
    return heads


def _ends(joined: pa.Table) -> pa.Table:
    """[place, root] of all rows of clusters, their smallest too."""
    roots = np.unique(joined["root"].to_numpy())
    place_N = np.concatenate([joined["node"].to_numpy(), roots])
    return pa.table({"place": place_N, "root": np.concatenate([joined["root"].to_numpy(), roots])})


def _members(state: pa.Table, met: pa.Table) -> pa.Table:
    """What decides of a cluster's rows, at home."""
    place_M, first_M = np.unique(met["place"].to_numpy(), return_index=True)
    at_M = np.searchsorted(state["place"].to_numpy(), place_M)
    kept = [name for name in ("place", "id", "quality", "digest_a", "digest_b") if name in state.column_names]
    return state.select(kept).take(pa.array(at_M)).append_column("root", pa.array(met["root"].to_numpy()[first_M]))


def _same(table: pa.Table) -> pa.Table:
    return table
