"""The rows that passed their own rules, as the rounds of select see them: small columns, a table for a group of shards.

A row is named by its place: the number of its shard in the upper 32 bits, its row there in the lower. So what a round
finds goes back to where its row is, and nothing is looked up by id.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray import keys
from dsray.errors import RecipeError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.choose.rules import FEATURES, Judge, failures, judged

U64 = NDArray[np.uint64]

Family = tuple[Receipt, Receipt, Receipt]
"""Raw, facts, labels of one shard."""

Group = list[tuple[int, Family]]
"""Shards whose rows are handled together, with their numbers."""

ID = pa.binary(16)
OLD = pa.schema([("place", pa.uint64()), ("by", ID)])
"""Rows that were superseded, and by whom."""

RESULTS = [("rule", pa.string()), ("value", pa.string()), ("threshold", pa.string()), ("cluster", ID),
           ("twinned", pa.bool_()), ("component", pa.uint64()), ("split", pa.string())]  # fmt: skip
"""What rounds add to a row; `twinned` rows have duplicates, a `component` is what falls into one split."""

_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/@?#]*@)?(?P<host>\[[^\]]*\]|[^/:?#]+)"
_READERS = 4
_GROUP_ROWS = 250_000


@dataclass(frozen=True)
class Reader:
    """Reads families, with the columns that a recipe's rounds need."""

    store: Store
    quality: str
    exact: bool = True
    signed: bool = False  # signatures too
    by: str = "cluster"  # what splits keep together
    extra: Sequence[str] = field(default=())  # raw columns: url, source

    def family(self, family: Family, signals: Sequence[str]) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Raw, facts and labels without payload; of the facts, the columns that are asked for."""
        raw, facts, labels = family
        wanted = ["id", "error", "digest", "signature", self.quality, *signals]
        column = [] if self.by in ("cluster", "host") else [f"{self.by}?"]
        raw_columns = ["id", "error", "evidence", *self.extra, *column]
        read = shards.read(self.store, facts, list(dict.fromkeys([*(f"{name}?" for name in wanted), *column])))
        if lacking := [name for name in wanted if name not in read.column_names]:
            told = "; this kind measures none" if FEATURES in lacking else ""
            raise RecipeError(f"The facts have no {', '.join(lacking)}{told}.", "Take it out of `select`.")
        return shards.read(self.store, raw, list(dict.fromkeys(raw_columns))), read, shards.read(
            self.store, labels, ["label", "agreement"]
        )  # fmt: skip


def groups_of(families: Sequence[Family], width: int) -> list[Group]:
    """Shards dealt in turn to groups of some 250,000 rows. Where there are enough shards, at least two groups for each
    of `width` calls that run at once."""
    rows = sum(raw.rows for raw, _, _ in families)
    count = max(1, min(len(families), max(2 * width, rows // _GROUP_ROWS)))
    return [[(n, families[n]) for n in range(start, len(families), count)] for start in range(count)]


def group_of(groups: int) -> "_GroupOf":
    """Numbers places by their group, for rounds that bring rows home."""
    return _GroupOf(groups)


@dataclass(frozen=True)
class _GroupOf:
    groups: int

    def __call__(self, place: pa.ChunkedArray) -> U64:
        return (np.asarray(place.to_numpy(), np.uint64) >> np.uint64(32)) % np.uint64(self.groups)


def facts(group: Group, old: pa.Table | None, *, reader: Reader, columns: Sequence[str]) -> pa.Table:
    """Columns of the facts of those rows that quantiles and medians are taken over."""

    def one(numbered: tuple[int, Family]) -> pa.Table:
        raw, found, _ = reader.family(numbered[1], columns)
        new = pc.invert(_in(places(numbered[0], raw.num_rows), old))
        return found.select(list(columns)).filter(pc.and_(judged(raw, found), new))

    with ThreadPoolExecutor(_READERS) as pool:
        return pa.concat_tables(pool.map(one, group))


def state(group: Group, old: pa.Table | None, *, reader: Reader, judge: Judge) -> pa.Table:
    """The rows of a group that pass all rules of their own, and the superseded ones, in the order of their places."""

    def one(numbered: tuple[int, Family]) -> pa.Table:
        number, family = numbered
        raw, found, labels = reader.family(family, judge.signals())
        place_N = places(number, raw.num_rows)
        gone = _in(place_N, old)
        passed = pc.or_(pc.is_null(failures(raw, found, labels, judge)["rule"]), gone)
        return _columns(raw, found, labels, place_N, reader).filter(passed)

    with ThreadPoolExecutor(_READERS) as pool:
        made = pa.concat_tables(pool.map(one, group)).combine_chunks()
    if old is None or not old.num_rows:
        return made
    newest = packed_hex(old["by"])
    words = [pa.array(["superseded"] * len(newest)), newest, pa.array(["the newest row of its URL"] * len(newest))]
    return merged(made, pa.table([old["place"], *words], ["place", "rule", "value", "threshold"]))


def merged(state: pa.Table, found: pa.Table) -> pa.Table:
    """The state with what a round found for some of its rows: [place, columns...]."""
    place_N, place_F = state["place"].to_numpy(), found["place"].to_numpy()
    order_F = np.argsort(place_F, kind="stable")
    at_N = np.minimum(np.searchsorted(place_F[order_F], place_N), max(0, len(place_F) - 1))
    if not len(place_F):
        return state
    hit_N = place_F[order_F][at_N] == place_N
    take = pa.array(order_F[at_N], mask=~hit_N)
    for name in found.column_names[1:]:
        new = pc.coalesce(found[name].combine_chunks().take(take), state[name].combine_chunks())
        state = state.set_column(state.column_names.index(name), name, new)
    return state


def alive(state: pa.Table) -> pa.Table:
    """The rows that no rule has dropped so far."""
    return state.filter(pc.is_null(state["rule"]))


def row_keys(state: pa.Table, column: str = "id") -> U64:
    """[N] 64-bit keys of 16-byte ids, as `rng.keys_of` makes them of their hex digits."""
    return np.frombuffer(_bytes(state[column]), ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)


def packed(hexes: pa.ChunkedArray) -> pa.FixedSizeBinaryArray:
    """32 hex digits → 16 bytes."""
    data = pa.py_buffer(bytes.fromhex("".join(hexes.to_pylist())))
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(hexes), [None, data])


def packed_hex(ids: pa.ChunkedArray | pa.Array) -> pa.Array:
    """16 bytes → 32 hex digits."""
    return pa.array([None if one is None else one.hex() for one in ids.to_pylist()], pa.string())


def words(column: pa.ChunkedArray) -> U64:
    """[N] texts → 64-bit keys, those of equal texts equal; none may be null."""
    coded = column.combine_chunks().dictionary_encode()
    made = [int(keys.digest(text.encode())[:16], 16) for text in coded.dictionary.to_pylist()]
    return np.array(made, np.uint64)[coded.indices.to_numpy()] if made else np.zeros(0, np.uint64)


def _columns(raw: pa.Table, found: pa.Table, labels: pa.Table, place_N: U64, reader: Reader) -> pa.Table:
    rows = raw.num_rows
    ids = pa.chunked_array([packed(found["id"])])
    columns = {"place": pa.array(place_N), "id": ids, "label": labels["label"]}
    columns["quality"] = found[reader.quality].cast(pa.float64())
    if reader.exact:
        digests = pc.fill_null(pc.utf8_slice_codeunits(found["digest"], 0, 32), "0" * 32)
        first_N, second_N = np.frombuffer(_bytes(pa.chunked_array([packed(digests)])), ">u8").reshape(-1, 2).T
        columns |= {"digest_a": pa.array(first_N.astype(np.uint64)), "digest_b": pa.array(second_N.astype(np.uint64))}
    if reader.signed:
        columns["signature"] = found["signature"]
    host = pc.struct_field(pc.extract_regex(raw["url"], _HOST), [0]) if "url" in raw.column_names else None
    if host is not None:
        columns["host"] = pc.utf8_lower(host)
    if "source" in raw.column_names:
        columns["source"] = raw["source"]
    if reader.by != "cluster":
        columns["group"] = _group(raw, found, columns, reader.by)
    columns |= {name: pa.nulls(rows, type_) for name, type_ in RESULTS}
    return pa.table(columns | {"cluster": ids})


def _group(raw: pa.Table, found: pa.Table, columns: dict[str, pa.ChunkedArray], by: str) -> pa.ChunkedArray:
    """What a row is kept together by, as text; null for a row that has none."""
    if by in columns:
        return columns[by]
    table = raw if by in raw.column_names else found
    if by not in table.column_names:
        return pa.chunked_array([pa.nulls(raw.num_rows, pa.string())])
    return table[by].cast(pa.string())


def places(shard: int, rows: int) -> U64:
    return (np.uint64(shard) << np.uint64(32)) | np.arange(rows, dtype=np.uint64)


def _in(place_N: U64, old: pa.Table | None) -> pa.Array:
    if old is None:
        return pa.array(np.zeros(len(place_N), bool))
    return pa.array(np.isin(place_N, old["place"].to_numpy()))


def _bytes(column: pa.ChunkedArray) -> bytes:
    return b"".join(column.to_pylist())
