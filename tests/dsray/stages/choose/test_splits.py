"""splits: groups stay together, shares are kept, and data that is added moves nobody or few."""

from collections import Counter, defaultdict

import pytest

from deciding import verdicts
from dsray.stages.choose.splits import fall
from lakes import rows

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
ALONE = {"duplicates": {"exact": False}}


def splits(store, made, split, sizes=(1000,), **choices):
    return verdicts(store, made, ALONE | choices | {"split": split}, sizes)["split"].to_pylist()


def test_a_number_falls_where_the_shares_say():
    assert fall([0.0, 0.79, 0.8, 0.95], SHARES) == ["train", "train", "validation", "test"]


@pytest.mark.parametrize("by", ["page", "host", "side"])
@pytest.mark.parametrize("stratify", [False, True])
def test_a_group_is_never_torn_apart_whatever_the_shards(store, by, stratify):
    made = rows(300, side=[float(n % 40) for n in range(300)])
    found = splits(store, made, {"by": by, "stratify": stratify}, (50, 1, 120, 999))
    groups = defaultdict(set)
    for row, split in zip(made, found, strict=True):
        groups[row["url"].split("/")[2] if by == "host" else row[by]].add(split)
    assert all(len(of_group) == 1 for of_group in groups.values()) and len(groups) > 6
    assert found == splits(store, made, {"by": by, "stratify": stratify}, (300,))


def test_groups_that_share_duplicates_count_as_one(store):
    pages = [f"http://a.org/p{n // 2}" for n in range(200)]  # the second row of a page doubles the first of the next
    digests = [f"{(n + 1) // 2 if n < 40 else 1000 + n:016x}" * 4 for n in range(200)]
    made = rows(200, page=pages, digest=digests, signature=[n << 8 for n in range(200)])
    table = verdicts(store, made, {"split": {"by": "page"}}, (30, 70, 999))
    kept = [split for split in table["split"].to_pylist()[:40] if split]
    assert len(set(kept)) == 1 and len(kept) == 21  # a chain of twenty pages
    assert len(set(table["split"].to_pylist())) == 4


@pytest.mark.parametrize("split", [{}, {"by": "page"}])
def test_without_strata_nobody_moves_when_data_is_added(store, split):
    made = rows(600)
    assert splits(store, made, split)[:400] == splits(store, made[:400], split)


def test_strata_have_exact_shares_and_few_rows_move(store):
    made = rows(900, label=["rare" if n % 10 == 0 else "common" for n in range(900)])
    before = splits(store, made[:800], {"stratify": True}, (99, 300, 999))
    after = splits(store, made, {"stratify": True})
    for label, rows_of in (("rare", 90), ("common", 810)):
        counts = Counter(split for split, row in zip(after, made, strict=True) if row["label"] == label)
        assert all(abs(counts[name] - share * rows_of) <= 1 for name, share in SHARES.items())
    moved = sum(one != other for one, other in zip(before, after[:800], strict=True))
    assert moved < 40, "two cuts in each class, about √100 rows each at most"
