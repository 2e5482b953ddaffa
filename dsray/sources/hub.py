"""Hugging Face datasets: a local folder, or a name on the hub. Media stay the bytes they are; nothing is decoded."""

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from dsray import keys
from dsray.collection import Hub
from dsray.errors import SourceError
from dsray.lake import folder
from dsray.sources.piece import Piece
from dsray.sources.rows import MOST_BYTES, Row, bad, damage
from dsray.sources.tables import record

PIECE_BYTES, PIECE_ROWS = 64 * 2**20, 10_000


def pieces(config: Hub) -> list[Piece]:
    """Runs of rows. A local folder's stamp is its files', a hub dataset's is its own: the revision's files."""
    stamp = _stamp(config)
    data = _loaded(config.model_dump_json(), stamp)
    lost = sorted({config.media, *config.texts.values()} - set(data.column_names))
    if lost:
        raise SourceError(
            f"The dataset {config.path} has no column {', '.join(lost)}.", f"It has {', '.join(data.column_names)}."
        )
    rows_ = len(data)
    weight = max(1, data.data.nbytes // max(1, rows_))
    step = max(1, min(PIECE_ROWS, PIECE_BYTES // weight))
    said = keys.digest(keys.canonical([stamp, address(config, stamp), config.split]))
    made = [{"first": first, "last": min(first + step, rows_), "stamp": stamp} for first in range(0, rows_, step)]
    return [Piece("hub", what, keys.digest(keys.canonical([said, what]))) for what in made]


def rows(piece: Piece, source: str, config: Hub) -> Iterator[Row]:
    """A row each record."""
    what, place = piece.what, address(config, piece.what["stamp"])
    data = _loaded(config.model_dump_json(), what["stamp"])
    names = {said: data.features[said] for said in config.texts.values() if hasattr(data.features[said], "int2str")}
    for number in range(what["first"], what["last"]):
        url = f"{place}#{config.split}/row={number}"
        try:
            cells = data[number]
            texts = {column: _named(names.get(said), cells[said]) for column, said in config.texts.items()}
            yield record(source, url, _bytes(config, cells[config.media]), texts)
        except Exception as error:
            yield bad(source, url, "row", damage(error))


def address(config: Hub, stamp: str) -> str:
    """Where the dataset is: file:///folder, or hf://datasets/name@commit/configuration."""
    if Path(config.path).exists():
        return folder.absolute(config.path)
    return f"hf://datasets/{config.path}@{stamp}" + (f"/{config.name}" if config.name else "")


def _named(feature: Any, value: Any) -> Any:
    """A class label's name; -1 is no label."""
    if feature is None or value is None:
        return value
    return feature.int2str(value) if value >= 0 else None


def _bytes(config: Hub, value: Any) -> Any:
    """Media that are files of the dataset are read; files elsewhere on the machine are not."""
    if not isinstance(value, dict) or value.get("bytes") is not None or not value.get("path"):
        return value
    path, root = Path(value["path"]).resolve(), Path(config.path).resolve()
    if not path.is_relative_to(root) or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    return path.read_bytes()


def _stamp(config: Hub) -> str:
    """What tells the dataset's files from others: their listing, or the commit that the revision is now."""
    if Path(config.path).exists():
        return keys.digest(keys.canonical([list(file) for file in folder.listing(config.path)]))
    _datasets()
    try:
        found = import_module("huggingface_hub").HfApi().dataset_info(config.path, revision=config.revision)
    except Exception as error:
        raise _unloaded(config, error) from error
    return str(found.sha)


@lru_cache(maxsize=2)
def _loaded(said: str, stamp: str) -> Any:
    """The split, media undecoded; once a process, as long as its files are the same."""
    config = Hub.model_validate_json(said)
    datasets = _datasets()
    local = Path(config.path)
    try:
        if (local / "dataset_dict.json").exists():
            data = datasets.load_from_disk(str(local))[config.split]
        elif (local / "state.json").exists():
            data = datasets.load_from_disk(str(local))
        else:
            where = str(local.absolute()) if local.exists() else config.path
            revision = None if local.exists() else stamp
            data = datasets.load_dataset(where, config.name, split=config.split, revision=revision)
    except Exception as error:
        raise _unloaded(config, error) from error
    for name, feature in data.features.items():
        if hasattr(feature, "decode"):
            data = data.cast_column(name, type(feature)(decode=False))
    return data.with_format(None)


def _unloaded(config: Hub, error: Exception) -> SourceError:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return SourceError(
        f"The dataset {config.path} could not be loaded: {lines[0][:300].rstrip('.')}.",
        "Check `path`, `name`, `split` and `revision`, or the network.",
    )


def _datasets() -> Any:
    try:
        return import_module("datasets")
    except ImportError:
        raise SourceError("Reading it needs Hugging Face datasets.", "Install it: pip install 'dsray[hub]'.") from None
