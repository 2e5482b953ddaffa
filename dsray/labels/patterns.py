"""Counts of distinct vote patterns, and what they say of each source."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dsray.labels.model import LabelModel, Pattern


def count(votes: pa.ChunkedArray) -> Counter[Pattern]:
    """Pattern → rows, of a column of schema.LABELS' votes; rows without votes are left out."""
    found: Counter[Pattern] = Counter()
    for chunk in votes.chunks:
        lists = chunk.drop_null()
        if not len(lists):
            continue
        pairs = lists.flatten()
        source, label = (pc.struct_field(pairs, name).dictionary_encode() for name in ("source", "label"))
        width = max(1, len(label.dictionary))
        codes = pc.add(pc.multiply(source.indices.cast(pa.int64()), width), label.indices.cast(pa.int64()))
        offsets = pc.subtract(lists.offsets, lists.offsets[0])
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, codes.cast(pa.string())), ",")
        sources, labels = source.dictionary.to_pylist(), label.dictionary.to_pylist()
        for counted in joined.value_counts().to_pylist():
            numbers = [int(code) for code in counted["values"].split(",") if code]
            if numbers:
                found[tuple((sources[n // width], labels[n % width]) for n in numbers)] += counted["counts"]
    return found


def labels(patterns: Mapping[Pattern, int]) -> dict[str, int]:
    """Label → votes for it."""
    votes: Counter[str] = Counter()
    for pattern, count in patterns.items():
        for _, label in pattern:
            votes[label] += count
    return dict(sorted(votes.items()))


def sources(
    patterns: Mapping[Pattern, int], rows: int, names: Iterable[str], model: LabelModel | None = None
) -> dict[str, dict[str, Any]]:
    """Source → its votes, the share of the rows that it votes on, the rows of them where another label was said, and
    what the model learned of its accuracy. The labellers first, in their order; then their annotators."""
    votes: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    disputed: Counter[str] = Counter()
    for pattern, count in patterns.items():
        voters = {source for source, _ in pattern}
        votes.update(dict.fromkeys(voters, 0))
        for source, _ in pattern:
            votes[source] += count
        covered.update(dict.fromkeys(voters, count))
        if len({label for _, label in pattern}) > 1:
            disputed.update(dict.fromkeys(voters, count))
    order = list(dict.fromkeys([*names, *sorted(votes)]))
    learned = model.accuracy if model else {}
    return {
        source: {
            "votes": votes[source],
            "coverage": covered[source] / rows if rows else 0.0,
            "conflicts": disputed[source],
            **({"accuracy": learned[source]} if source in learned else {}),
        }
        for source in order
    }
