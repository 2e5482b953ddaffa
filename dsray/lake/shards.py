"""Shards: one Parquet object a shard, made in memory, put once, with its receipt in the object's metadata."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dsray import keys
from dsray.errors import DamagedError, LakeError
from dsray.lake import disk
from dsray.lake.store import Data, Missing, Store

_GROUP_BYTES = 16 * 2**20  # of values in a row group: what a reader holds at once
_GROUP_ROWS = (64, 65536)
_AROUND_BYTES = 2**20  # of pages' headers and the footer, more than there are
_TRIED_ROWS, _TRIED_BYTES = 32, 16384  # of a column of bytes, to see whether they compress
_AT_ONCE_BYTES = 4 * 2**20
_LENDER = b"dsray.lender"
_FEW = 1000  # names, that are asked for one by one
_LONGEST_COUNTS = 1500  # bytes: S3 keeps 2 KB of metadata in all


@dataclass(frozen=True)
class Receipt:
    """What a shard is: its name, the SHA-256 of its bytes, rows, bytes, and what its stage counted. `lender` names the
    shard from which it borrows a column; its bytes hold that one's digest only, so that keys don't depend on a name.
    """

    name: str
    digest: str
    rows: int
    bytes: int
    counts: dict[str, int] = field(default_factory=dict)
    lender: str = ""


def encode(table: pa.Table) -> memoryview:
    """Parquet; zstd 3, but for media that are compressed already. The same rows and schema give the same bytes, however
    the table is cut into chunks."""
    table = table.combine_chunks()
    plain = [f.name for f in table.schema if not _holds_bytes(f.type)]
    zstd = {leaf: "zstd" if _shrinks(values) else "none" for leaf, values in _leaves(table)}
    written = partial(
        pq.write_table, table, row_group_size=_group_rows(table),
        compression=zstd, compression_level={leaf: 3 for leaf, codec in zstd.items() if codec == "zstd"},
        use_dictionary=plain, write_statistics=plain, write_page_checksum=True,
    )  # fmt: skip
    return _written(written, table.nbytes + _AROUND_BYTES)


def name_of(stage: str, key: str) -> str:
    """Where a derived shard lies."""
    return f"shards/{stage}/{key[:2]}/{key}.parquet"


def write(store: Store, name: str, table: pa.Table, counts: Mapping[str, int] = {}) -> Receipt:
    """One create-only put. Whoever comes second adopts the receipt of the first, whose bytes stand."""
    return _put(store, name, encode(table), table.num_rows, counts)


def write_raw(store: Store, source: str, table: pa.Table) -> Receipt:
    """A raw shard, named by its own bytes."""
    return write_named(store, f"raw/{source}", table)


def write_named(store: Store, folder: str, table: pa.Table, counts: Mapping[str, int] = {}) -> Receipt:
    """A shard in `folder`, named by its own bytes: the same table is the same shard, whenever it is made."""
    data = encode(table)
    digest = keys.digest(data)
    return _put(store, f"{folder}/{digest[:2]}/{digest}.parquet", data, table.num_rows, counts, digest)


def copy(store: Store, receipt: Receipt, name: str) -> Receipt:
    """The same shard under another name. Raises Missing or DamagedError."""
    return _put(store, name, whole(store, receipt), receipt.rows, receipt.counts, receipt.digest)


def borrowed(table: pa.Table, column: str, lender: str, row: pa.Array) -> pa.Table:
    """The table with the column that another shard holds: `row` says where each value lies there, or null. `lender` is
    the digest of that shard; a receipt of this one must name it."""
    place = table.schema.get_field_index(column)
    return table.set_column(place, pa.field(column, pa.int32(), metadata={_LENDER: lender}), row)


def adopt(store: Store, name: str) -> Receipt | None:
    """The receipt of a shard that is there. Raises DamagedError when the object carries none."""
    head = store.head(name)
    if head is None:
        return None
    try:
        counts = {str(k): int(v) for k, v in json.loads(head.meta["counts"]).items()}
        return Receipt(name, head.sha256, int(head.meta["rows"]), head.size, counts)
    except (KeyError, ValueError, AttributeError, TypeError):
        raise DamagedError(f"{store.url}/{name} carries no receipt.", "Delete it and run again.") from None


def attest(store: Store, receipt: Receipt) -> bool:
    """Gives a shard whose bytes are right the receipt that its object lost, in one swap; whether they are."""
    try:
        data, etag = store.get(receipt.name)
    except DamagedError:
        return False
    if keys.digest(data) != receipt.digest:
        return False
    store.swap(receipt.name, data, etag, _meta(receipt.rows, receipt.counts))
    return True


def there(store: Store, names: Sequence[str]) -> set[str]:
    """Those of the names that are on the store. Many are looked for in listings of their folders."""
    with ThreadPoolExecutor(32) as pool:
        if len(names) <= _FEW:
            heads = pool.map(store.head, names)
            return {name for name, head in zip(names, heads, strict=True) if head is not None}
        folders = sorted({name.rpartition("/")[0] + "/" for name in names})
        listed = pool.map(lambda folder: [entry.name for entry in store.list(folder)], folders)
        return set(names) & set().union(*listed)


def read(store: Store, receipt: Receipt, columns: Sequence[str] | None = None) -> pa.Table:
    """The shard's table. A whole read checks the digest; some columns are read by range, with their pages' checksums.
    A column written as `name?` need not be there: sources differ in their text fields.

    A borrowed column is read from its lender.

    Raises Missing, DamagedError, or LakeError for a column that is not there.
    """
    table = _read(store, receipt, columns)
    for place, one in enumerate(table.schema):
        if digest := _lender(one):
            parts = [column for column in columns or () if column.split(".")[0] == one.name] or [one.name]
            values = _read(store, _found(store, receipt, digest), parts)[one.name]
            table = table.set_column(place, one.name, _taken(values, table[one.name].combine_chunks()))
    return table


def each(
    store: Store, receipts: Iterable[Receipt], columns: Sequence[str] | None = None, ahead: int = 1
) -> Iterator[pa.Table]:
    """The shards' tables in order, as `read` gives them; so many of the next are read meanwhile, and held."""
    waiting: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            for receipt in receipts:
                waiting.append(pool.submit(read, store, receipt, columns))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def whole(store: Store, receipt: Receipt) -> bytes:
    """The object's bytes, which are those that the receipt names. Raises Missing or DamagedError with what mends it."""
    try:
        return store.read(receipt.name, receipt.digest)
    except Missing:
        raise Missing(f"{store.url}/{receipt.name} is gone.", _mend(receipt.name)) from None
    except DamagedError:
        raise DamagedError(
            f"{store.url}/{receipt.name} is damaged: its bytes are not those that its receipt names.",
            _mend(receipt.name),
        ) from None


def schema_of(store: Store, receipt: Receipt) -> pa.Schema:
    """The shard's columns, from its footer. Raises Missing or DamagedError."""
    try:
        with store.open(receipt.name) as file:
            return pq.read_schema(file)
    except (pa.ArrowException, OSError, Missing):
        return read(store, receipt).schema


def lenders(schema: pa.Schema) -> list[str]:
    """The digests of the shards from which a shard with this schema borrows."""
    return [digest for column in schema if (digest := _lender(column))]


def _lender(column: pa.Field) -> str:
    """The digest of the shard that holds a borrowed column, else nothing."""
    return str((column.metadata or {}).get(_LENDER, b""), "utf-8")


def _found(store: Store, receipt: Receipt, digest: str) -> Receipt:
    """The shard that holds a borrowed column."""
    lender = adopt(store, receipt.lender) if receipt.lender else None
    if lender is None or lender.digest != digest:
        raise DamagedError(
            f"{store.url}/{receipt.name} needs {receipt.lender or 'a shard'}, which is gone or is not what it was.",
            _mend(receipt.name, receipt.lender),
        )
    return lender


def _taken(values: pa.ChunkedArray, row: pa.Array) -> pa.ChunkedArray:
    """The values at those rows; the column itself where that is all of it, since taking copies."""
    whole = len(values) == len(row) and row.equals(pa.array(np.arange(len(row)), row.type))
    return values if whole else pa.chunked_array([values.combine_chunks().take(row)])


def _read(store: Store, receipt: Receipt, columns: Sequence[str] | None) -> pa.Table:
    if columns is not None:
        try:
            with store.open(receipt.name) as file:
                return _pick(file, columns, store, receipt)
        except (pa.ArrowException, OSError, Missing):  # or a connection that broke: the whole read tells which
            pass
    data = whole(store, receipt)
    file = pa.BufferReader(data)
    return pq.ParquetFile(file).read() if columns is None else _pick(file, columns, store, receipt)


def _mend(*names: str) -> str:
    """What makes objects again: they, and the manifests that say that they are there, have to go."""
    if all(name.startswith("releases/") for name in names):
        return "`dsray verify --heal` makes the release again."
    made = [name for name in names if name.startswith(("shards/", "models/"))]
    if not made:
        return "Bring it back from a copy of the lake."
    stages = {"train" if name.startswith("models/") else name.split("/")[1] for name in made}
    gone = [*made, *(f"stages/{stage}/" for stage in sorted(stages))]
    return f"Delete {' and '.join(gone)} there and run again: the rest is kept."


def _pick(file: pa.NativeFile, columns: Sequence[str], store: Store, receipt: Receipt) -> pa.Table:
    """Some columns, or parts of them (`media.path`), in the order asked for. Few bytes are asked for at once; of more,
    each piece when it is needed: all in memory beside their table would be twice as much."""
    footer = pq.read_metadata(file)
    schema = footer.schema.to_arrow_schema()
    there = set(schema.names)
    columns = [name.removesuffix("?") for name in columns if not name.endswith("?") or name[:-1] in there]
    top_of = {column: column.split(".")[0] for column in columns}
    tops = list(dict.fromkeys(top_of.values()))
    lacking = sorted(set(tops) - there)
    if lacking:
        raise LakeError(f"{store.url}/{receipt.name} has no column {', '.join(lacking)}.")
    lent = {one.name for one in schema if _lender(one)}  # which has no parts here
    wanted = [top if top in lent else column for column, top in top_of.items()]
    few = _stored(footer, wanted) <= _AT_ONCE_BYTES
    shard = pq.ParquetFile(file, metadata=footer, pre_buffer=few, page_checksum_verification=True)
    return shard.read(columns=wanted, use_threads=not few).select(tops)


def _stored(footer: pq.FileMetaData, columns: Sequence[str]) -> int:
    """Bytes of columns, or parts of them, as they lie in the file."""
    leaves = [footer.schema.column(number).path for number in range(footer.num_columns)]
    of = [number for number, leaf in enumerate(leaves) if any(f"{leaf}.".startswith(f"{one}.") for one in columns)]
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return sum(group.column(number).total_compressed_size for group in groups for number in of)


def _put(store: Store, name: str, data: Data, rows: int, counts: Mapping[str, int], digest: str = "") -> Receipt:
    if made := store.create(name, data, _meta(rows, counts), digest):
        return Receipt(name, made, rows, len(data), dict(counts))
    found = adopt(store, name)
    if found is None:
        raise Missing(f"{store.url}/{name} was deleted while it was written.", "Run again.")
    return found


def _meta(rows: int, counts: Mapping[str, int]) -> dict[str, str]:
    """A receipt as an object's metadata."""
    said = json.dumps(counts, sort_keys=True, separators=(",", ":"))
    if len(said) > _LONGEST_COUNTS:
        raise ValueError(f"{len(said)} bytes of counts do not fit into an object's metadata")
    return {"rows": str(rows), "counts": said}


def _written(write: Callable[[pa.NativeFile], None], room: int) -> memoryview:
    """What `write` writes, into memory of the size that it should take: one that grows copies all, several times."""
    spare = np.empty(room + disk.BLOCK, np.uint8)
    memory = spare[-spare.ctypes.data % disk.BLOCK :]  # from where a disk fetches it
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(memory))
    try:
        write(sink)
        size = sink.tell()
    except OSError:  # it takes more, as few rows in many columns may
        grown = pa.BufferOutputStream()
        write(grown)
        return memoryview(grown.getvalue())
    return memory.data[:size].toreadonly()


def _group_rows(table: pa.Table) -> int:
    """Rows in a row group. Counted from values, since buffers (and `nbytes`) depend on how a table came about."""
    weight = sum(_weight(column) for column in table.columns) / max(1, table.num_rows)
    return int(min(max(_GROUP_BYTES // max(1, weight), _GROUP_ROWS[0]), _GROUP_ROWS[1]))


def _weight(column: pa.ChunkedArray) -> int:
    """Bytes of a column's values, numbers as eight each."""
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return _weight(pc.list_flatten(column))
    if pa.types.is_struct(column.type):
        return sum(_weight(pc.struct_field(column, i)) for i in range(column.type.num_fields))
    if _holds_bytes(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return int(pc.sum(pc.binary_length(column)).as_py() or 0)
    return 8 * len(column)


def _leaves(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Parquet's own columns: a struct's fields by their path (`media.bytes`)."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_struct(column.type):
            fields = [column.type.field(i).name for i in range(column.type.num_fields)]
            inner = pa.table([pc.struct_field(column, i) for i in range(len(fields))], fields)
            yield from ((f"{name}.{leaf}", values) for leaf, values in _leaves(inner))
        else:
            yield name, column


def _shrinks(column: pa.ChunkedArray) -> bool:
    """Whether zstd is worth its time. Of bytes, some rows are tried: JPEG, PNG and the like don't get smaller."""
    if not _holds_bytes(column.type) or not len(column):
        return True
    tried = (column[row].as_py() for row in np.linspace(0, len(column) - 1, _TRIED_ROWS).astype(int).tolist())
    sample = b"".join(value[:_TRIED_BYTES] for value in tried if value)
    return len(pa.compress(sample, "zstd", asbytes=True)) < 0.9 * len(sample)


def _holds_bytes(type_: pa.DataType) -> bool:
    """Payloads: neither a dictionary nor minimum and maximum helps there."""
    if pa.types.is_struct(type_):
        return any(_holds_bytes(type_.field(i).type) for i in range(type_.num_fields))
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))
