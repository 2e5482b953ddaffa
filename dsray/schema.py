"""The columns that stages hand to each other. Tables of one raw shard keep its rows in order: they zip by position."""

import pyarrow as pa

RAW = pa.schema(
    [
        ("id", pa.string()),  # keys.row_id(source, url, digest of the payload or the error)
        ("source", pa.string()),
        ("url", pa.string()),  # where the payload was asked for
        ("final_url", pa.string()),  # where it came from, after redirects
        ("page", pa.string()),  # the page that named it
        ("status", pa.int32()),  # HTTP status; null when there was no answer
        ("headers", pa.string()),  # JSON object: the headers that matter, lower-case names
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("digest", pa.string()),  # SHA-256 of the payload
        ("error", pa.string()),  # why there is no payload (see FETCH_ERRORS), or null
        ("evidence", pa.string()),  # JSON object behind `error`: signal, value, where
        ("licence", pa.string()),  # that the page declares, or null
        ("payload", pa.large_binary()),
    ]
)
"""A raw row. The text fields that a recipe's `item` names (caption, ...) follow as string columns, sorted by name."""

FETCH_ERRORS = (
    "robots",
    "opted_out",
    "address",
    "http_status",
    "too_large",
    "timeout",
    "unreachable",
    "redirects",
    "invalid",
    "gone",
    "forgotten",
)
"""Why a raw row has no payload. `invalid` is a URL that cannot be asked for, or a record
that cannot be read; `gone` an item that no page names now; `forgotten` what serves a payload that was."""

FACTS = pa.schema([("id", pa.string()), ("digest", pa.string()), ("error", pa.string()), ("signature", pa.uint64())])
"""A fact row begins so; the kind's own facts and the signals (float64, null when not measured) follow."""

OBJECT = pa.struct(
    [
        ("label", pa.string()),
        ("x", pa.float64()),  # left edge, in units of the sample (pixels of an upright image)
        ("y", pa.float64()),  # upper edge
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("polygon", pa.list_(pa.float64())),  # x, y, x, y, ... of its outline, or null
    ]
)
"""Something marked in a sample."""

VOTE = pa.struct([("source", pa.string()), ("label", pa.string()), ("confidence", pa.float64())])
"""What one labeller said."""

MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How Hugging Face stores an image or audio clip in Parquet."""

FORMS = pa.schema(
    [
        ("id", pa.string()),
        ("error", pa.string()),  # why there is none, or null
        ("media", MEDIA),  # the recipe's one canonical form
        ("size", pa.int64()),  # bytes of it
        ("frame", pa.list_(pa.float64())),  # where in the payload it comes from: its kind reads it
    ]
)
"""A raw row in its canonical form, kept or not."""

LABELS = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),  # what the votes come to; null without any
        ("label_source", pa.string()),  # whose vote it is
        ("confidence", pa.float64()),
        ("agreement", pa.float64()),  # share of the votes that are for the label; null without votes
        ("votes", pa.list_(VOTE)),  # every answer, in the order of the labellers
        ("objects", pa.list_(OBJECT)),
    ]
)

VERDICTS = pa.schema(
    [
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("rule", pa.string()),  # the first rule that failed; null when kept
        ("value", pa.string()),
        ("threshold", pa.string()),
        ("label", pa.string()),
        ("objects", pa.list_(OBJECT)),
        ("cluster", pa.string()),  # the smallest row id among its duplicates
        ("split", pa.string()),  # train, validation, test; null when not kept
        ("weight", pa.float64()),  # how often it should be drawn, 1 on average; null when the recipe weighs nothing
    ]
)

MIXED = pa.struct([("parent", pa.string()), ("label", pa.string()), ("share", pa.float64())])
"""The second parent of a mixed sample, its label, and the share of the first label (the rest is the second's)."""

ORIGINS = ("real", "augmented", "synthetic")
SPLITS = ("train", "validation", "test")

SAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("media", MEDIA),
        ("label", pa.string()),
        ("objects", pa.list_(OBJECT)),
        ("weight", pa.float64()),
        ("split", pa.string()),
        ("origin", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("page", pa.string()),
        ("licence", pa.string()),  # that its page declares
        ("parent", pa.string()),  # augmented rows: the id of the real row
        ("transform", pa.string()),  # JSON of what an augmented row, or a synthetic one beyond its model, was made with
        ("mixed", MIXED),  # augmented rows with two parents
        ("model", pa.string()),  # synthetic rows: the model's key
        ("seed", pa.int64()),
        ("index", pa.int64()),
    ]
)
"""A sample row, real, augmented or synthetic: one schema, so that a release reads as one table."""
