"""Lists of URLs that users bring: Parquet, CSV (with a header) or text (a URL a line), batch by batch."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from dsray.errors import SourceError
from dsray.lake import folder

_BATCH = 50_000


def batches(path: str, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """(URL of the file, some of its rows). The first column holds the URLs, also of a text file.

    Raises SourceError for a file that cannot be read or lacks a column.
    """
    for file in folder.listing(path):
        try:
            with closing(folder.reader(file)) as stream:
                for batch in _batches(stream, file.url, list(dict.fromkeys(columns))):
                    yield file.url, batch
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{file.url} cannot be read: {error}.", "Is it Parquet, CSV or text?") from error


def _batches(stream: IO[bytes], name: str, columns: list[str]) -> Iterator[pa.Table]:
    if name.endswith((".parquet", ".pq")):
        parquet = pq.ParquetFile(stream)
        _check(name, parquet.schema_arrow.names, columns)
        for batch in parquet.iter_batches(_BATCH, columns=columns):
            yield pa.Table.from_batches([batch])
    elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        source = pa.CompressedInputStream(stream, "gzip") if name.endswith(".gz") else stream
        parse = pa_csv.ParseOptions(delimiter="\t" if ".tsv" in name else ",", newlines_in_values=True)
        text = pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
        reader = pa_csv.open_csv(source, parse_options=parse, convert_options=text)
        _check(name, reader.schema.names, columns)
        for batch in reader:
            yield pa.Table.from_batches([batch]).select(columns)
    else:
        if len(columns) > 1:
            raise SourceError(f"{name} is a text file: it has no column {columns[1]!r}.", "Give CSV or Parquet.")
        lines = (line.decode().strip() for line in stream)
        yield pa.table({columns[0]: [line for line in lines if line]})


def _check(name: str, there: Sequence[str], wanted: Sequence[str]) -> None:
    for column in wanted:
        if column not in there:
            raise SourceError(f"{name} has no column {column!r}; it has {', '.join(there)}.", "Correct the recipe.")
