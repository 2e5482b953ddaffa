"""Sources that are not the web → raw shards: a shard each piece. What did not change is adopted, not read again."""

from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from dsray import keys, sources
from dsray.collection import Source
from dsray.errors import SourceError
from dsray.lake import folder, tombstones
from dsray.lake.shards import Receipt
from dsray.lake.tombstones import Tombstones
from dsray.schema import RAW
from dsray.sources.consent import obeyed
from dsray.sources.forgotten import left
from dsray.sources.piece import Piece
from dsray.sources.rows import bad, table
from dsray.stages.child import in_child
from dsray.stages.step import Work, total

VERSION = 1
NOTHING = Tombstones()
_LIMIT_S = 3600  # for one piece that is read carefully

Made = tuple[pa.Table, dict[str, int]]


def run(name: str, source: Source, work: Work, texts: list[str]) -> tuple[list[Receipt], dict[str, int]]:
    """The receipts of the source's raw shards, in the order of its pieces, and how many of its rows have a payload."""
    from dsray.engine import shards

    source = sources.anchored(source)
    _apart(name, source, work)
    obey = work.recipe.select.drop.opted_out
    found = sources.pieces(source)
    if not found:
        raise SourceError(f"The source '{name}' has nothing to read.", "Check what it says against what is there.")
    works = [shards.Work(shard_name(name, source, piece, texts, obey), [], piece.json()) for piece in found]
    forgotten = tombstones.load(work.store)
    read = partial(raw, name=name, source=source, texts=texts, obey=obey, forgotten=forgotten)
    receipts = shards.map_shards(work.store, works, read, work.progress.rows(None), work.known("collect"))
    filled = [receipt for receipt in receipts if receipt.rows]
    rows, failed = sum(receipt.rows for receipt in filled), total(filled, "failed")
    return filled, {"pieces": len(found), "read": rows - failed, "failed": failed}


def _apart(name: str, source: Source, work: Work) -> None:
    """Refuses a lake in the folder that is read: each run would read what the last one wrote."""
    said = source.files or source.warc
    if said and f"{work.store.url}/".startswith(unquote(folder.absolute(said.path)).rstrip("/") + "/"):
        raise SourceError(f"The lake lies in the folder that the source '{name}' reads.", "Put one of them elsewhere.")


def shard_name(name: str, source: Source, piece: Piece, texts: Iterable[str], obey: bool = True) -> str:
    """Where a piece's shard lies: by what makes it, or in a folder by its own bytes when only reading tells."""
    if piece.fingerprint is None:
        return f"raw/{name}/"
    said = sources.settings(source).model_dump(mode="json", exclude={"path", "include", "rows"})
    columns = [*RAW.names, *sorted(texts)]
    params = {"source": name, "reader": piece.reader, "said": said, "obey": obey, "columns": columns}
    key = keys.key("ingest", VERSION, params, [piece.fingerprint])
    return f"raw/{name}/{key[:2]}/{key}.parquet"


def raw(said: dict[str, Any], *, name: str, source: Source, texts: list[str], obey: bool = True,
        forgotten: Tombstones = NOTHING, careful: bool = False) -> Made:  # fmt: skip
    """The raw table of one piece, without what was forgotten. With `obey`, payloads that opt out are not in it.

    With `careful` it is read in a child process, and a piece that kills it is a row.
    """
    piece = Piece(**said)
    if careful:
        again = partial(raw, said, name=name, source=source, texts=texts, obey=obey, forgotten=forgotten)
        found: Made | None = in_child(again, start="spawn", seconds=_LIMIT_S)  # not a fork: S3 has threads
        if found:
            return found
        where = f"{name}@{piece.fingerprint or keys.digest(keys.canonical(piece.what))}"
        died = bad(name, where, "crashed", f"a process died of this piece of {piece.reader}")
        return table([died], texts), {"failed": 1}
    rows = sources.rows(piece, name, source)
    rows = map(obeyed, rows) if obey else rows
    made = table(left(rows, forgotten) if forgotten else rows, texts)
    return made, {"failed": len(made) - made["error"].null_count}
