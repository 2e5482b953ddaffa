"""Folders of files, on disk or S3: a row each media file. Archives and tables among them have modules of their own.

Small files are grouped, and a group ends where a hash of a name says so: what one file is changes its own group only.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

from dsray import keys
from dsray.collection import Files
from dsray.errors import SourceError
from dsray.lake import folder
from dsray.lake.folder import UNREADABLE, File
from dsray.sources import archives, tables
from dsray.sources.piece import Piece
from dsray.sources.rows import MOST_BYTES, Row, bad, damage, good
from dsray.sources.samples import MOST_TEXT, Sample, arrange, extensions, fields

GROUP_BYTES, GROUP_FILES = 64 * 2**20, 2000
"""The most of a piece. A natural end comes at a quarter of it, on average."""


def pieces(config: Files) -> list[Piece]:
    """Groups of media files, then archives, then tables, each in the order of their URLs."""
    listed = folder.listing(config.path)
    chosen = [file for file in listed if taken(file.name, tuple(config.include))]
    packed = [file for file in chosen if archives.reads(file.name)]
    tabled = [file for file in chosen if tables.reads(file.name)]
    if tabled and not config.media and len(tabled) == len(chosen):
        raise SourceError(
            f"{folder.absolute(config.path)} holds tables, and the source does not say which column is the payload.",
            "Add `media: column`.",
        )
    apart = {*packed, *tabled}
    single = [(file.name, file) for file in listed if file not in apart]
    samples = arrange(single, config.texts, first=False)
    for sample in samples:  # a sidecar that nobody asks for changes nothing
        sample.beside = {said: file for said, file in sample.beside.items() if said in extensions(config.texts)}
    grouped = groups(samples, {file.url for file in chosen})
    return [
        *grouped,
        *(piece for file in packed for piece in archives.pieces(file)),
        *(piece for file in tabled for piece in tables.pieces(file, config)),
    ]


def groups(samples: list[Sample[File]], chosen: set[str]) -> list[Piece]:
    """Samples of which a file is chosen, in pieces whose ends depend on the names and sizes near them only."""
    made: list[Piece] = []
    group: list[Sample[File]] = []
    size = count = 0
    for sample in sorted(samples, key=lambda sample: sample.key):
        sample.media = [(name, file) for name, file in sample.media if file.url in chosen]
        files = [file for _, file in sample.media] + [sample.beside[extension] for extension in sorted(sample.beside)]
        if not sample.media and not any(file.url in chosen for file in files):
            continue
        weight = sum(file.size for file in files)
        if group and (size + weight > GROUP_BYTES or count + len(files) > GROUP_FILES):
            made.append(_piece(group))
            group, size, count = [], 0, 0
        group.append(sample)
        size, count = size + weight, count + len(files)
        share = max(weight / (GROUP_BYTES / 4), len(files) / (GROUP_FILES / 4))
        if int(keys.digest(sample.key.encode())[:8], 16) < share * 2**32:
            made.append(_piece(group))
            group, size, count = [], 0, 0
    return [*made, *([_piece(group)] if group else [])]


def _piece(group: list[Sample[File]]) -> Piece:
    samples = [
        {
            "key": sample.key,
            "media": [[name, list(file)] for name, file in sample.media],
            "beside": {extension: list(file) for extension, file in sorted(sample.beside.items())},
        }
        for sample in group
    ]
    return Piece("files", {"samples": samples}, keys.digest(keys.canonical(samples)))


def rows(piece: Piece, source: str, config: Files) -> Iterator[Row]:
    """A row each media file; a row each sidecar that no media file stands beside."""
    for said in piece.what["samples"]:
        beside = {extension: File(*file) for extension, file in said["beside"].items()}
        for name, file in said["media"]:
            yield _row(source, config, name, File(*file), beside)
        if not said["media"]:
            for extension, file in beside.items():
                yield bad(source, file.url, "media", f"nothing stands beside this {extension}", file.changed_at)


def _row(source: str, config: Files, name: str, file: File, beside: dict[str, File]) -> Row:
    if file.stamp == UNREADABLE or file.size > MOST_BYTES:
        return bad(source, file.url, UNREADABLE if file.stamp == UNREADABLE else "size", file.size, file.changed_at)
    lost = [f for f in beside.values() if f.stamp == UNREADABLE or f.size > MOST_TEXT]
    if lost:
        return bad(source, file.url, "sidecar", lost[0].url, file.changed_at)
    try:
        texts = {extension: folder.read(f, MOST_TEXT) for extension, f in beside.items()}
        above = unquote(file.url.rpartition("/")[0].rpartition("/")[2], errors="replace")
        found = fields(config.texts, name, above, texts)
    except Exception as error:
        return bad(source, file.url, "sidecar", damage(error), file.changed_at)
    return good(source, file.url, folder.read(file, MOST_BYTES), found, file.changed_at)


def taken(name: str, include: tuple[str, ...]) -> bool:
    """Whether a name below the folder matches one of the globs."""
    return any(_compiled(glob).fullmatch(name) for glob in include)


@lru_cache(maxsize=256)
def _compiled(glob: str) -> re.Pattern[str]:
    """`**/` any folders, `**` anything, `*` and `?` within a name, [a-z] a character."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    found = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]/]+\])", glob)
    said = (
        parts.get(part)
        or (f"[{part[1:-1].replace('!', '^', 1)}]" if part.startswith("[") and part[1:] else re.escape(part))
        for part in found
    )
    return re.compile("".join(said), re.DOTALL)
