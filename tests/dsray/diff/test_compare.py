"""dsray.diff.compare: what it says of two releases is what a comparison by dicts says, read through fingerprints."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsray.dataset import Version
from dsray.diff import words
from dsray.diff.compare import Diff, compare, pair
from dsray.errors import DsrayError
from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store, open_store
from dsray.schema import SPLITS
from dsray.stages import versions
from dsray.stages.documents import counts
from dsray.stages.release import release_table
from rows import sample_rows

CLASSES = ["a", "b", "c"]
Rows = dict[str, dict]
"""Row id → what there is of it."""

one_row = st.fixed_dictionaries({
    "split": st.sampled_from(SPLITS), "label": st.sampled_from([*CLASSES, None]),
    "media": st.sampled_from([b"one", b"two", b""]), "caption": st.sampled_from(["None", "x", None]),
    "weight": st.sampled_from([0.5, 2.0, None]), "parent": st.sampled_from([None, "p"]),
    "objects": st.sampled_from([None, [{"label": "a", "x": 0.5}], [{"label": "b", "x": 0.5}]]),
    "mixed": st.sampled_from([None, {"parent": "p", "label": "a", "share": 0.5}]),
})  # fmt: skip


def origin_of(number: int) -> str:
    """A row never changes where it comes from."""
    return ("real", "real", "augmented", "gan")[number % 4]


@st.composite
def releases(draw) -> Rows:
    numbers = draw(st.sets(st.integers(0, 15)))
    return {f"{number:032x}": {**draw(one_row), "origin": origin_of(number)} for number in numbers}


def write(store: Store, number: int, rows: Rows, buckets: int = 2, **said) -> Version:
    """A release of these rows as release writes it: by split, origin and bucket."""
    columns = [name for name in ("objects", "weight", "mixed") if any(row[name] is not None for row in rows.values())]
    named = [row["label"] for row in rows.values()] + [row["mixed"]["label"] for row in rows.values() if row["mixed"]]
    params = {"classes": sorted({*named} - {None}), "kind": "image",
              "texts": ["caption"], "columns": columns, "form": {}, "shape": None}  # fmt: skip
    groups: dict[tuple, list] = {}
    for name, row in rows.items():
        groups.setdefault((row["split"], row["origin"], int(name, 16) // 4 % buckets), []).append((name, row))
    receipts = []
    for (split, origin, bucket), group in groups.items():
        given = {name: pa.array([row[name] for _, row in group], of) for name, of in (
            ("weight", pa.float64()), ("parent", pa.string()))}  # fmt: skip
        table = sample_rows([row["media"] for _, row in group], [row["label"] for _, row in group], **given)
        table = table.set_column(table.schema.get_field_index("id"), "id", pa.array([name for name, _ in group]))
        for column in ("objects", "mixed"):
            values = pa.array([row[column] for _, row in group], table.schema.field(column).type)
            table = table.set_column(table.schema.get_field_index(column), column, values)
        table = table.append_column("caption", pa.array([row["caption"] for _, row in group], pa.string()))
        name = f"releases/d/v{number}/{split}/{origin}-{bucket:05d}-of-{buckets:05d}.parquet"
        receipts.append(shards.write(store, name, release_table(table, params)))
    manifest = {"dataset": "d", "version": number, "classes": params["classes"], "rows": counts(receipts),
                "shards": [one.__dict__ for one in receipts], "quarantine": {}, "scores": {}, "gates": [], "recipe": {},
                "stages": {name: {"key": "gone"} for name in ("measure", "select")}, **said}  # fmt: skip
    store.create(f"releases/d/v{number}/manifest.json", json.dumps(manifest).encode())
    versions.publish(store, "d", number, f"key {number}")
    return Version("d", number, store, manifest)


CONTENT = ("label", "media", "caption", "weight", "parent", "objects", "mixed")


def by_dicts(first: Rows, second: Rows) -> dict:
    """The same by hand: sort of difference → what is counted."""
    both = first.keys() & second.keys()
    changed = {name: [c for c in CONTENT if first[name][c] != second[name][c]] for name in both}
    moved = [(first[name]["split"], second[name]["split"]) for name in both]
    columns = Counter("image" if c == "media" else c for names in changed.values() for c in names)
    return {
        "added": sorted(second.keys() - first.keys()), "removed": sorted(first.keys() - second.keys()),
        "changed": sorted(name for name, columns in changed.items() if columns),
        "moved": sorted(name for name in both if first[name]["split"] != second[name]["split"]),
        "columns": dict(columns), "ways": Counter(way for way in moved if way[0] != way[1]),
        "relabelled": Counter((first[name]["label"], second[name]["label"]) for name in both
                              if first[name]["label"] != second[name]["label"]),
    }  # fmt: skip


def told(diff: Diff) -> dict:
    ids = {what: [row.id for row in diff.rows if row.what == what] for what in ("added", "removed", "changed", "moved")}
    return {**ids, "columns": diff.columns, "ways": Counter({(a, b): n for a, b, n in diff.moved}),
            "relabelled": Counter({(a, b): n for a, b, n in diff.relabelled})}  # fmt: skip


@settings(max_examples=40)
@given(releases(), releases(), st.integers(1, 3), st.integers(1, 3))
def test_a_diff_is_what_dicts_say_and_mirrors_itself(first: Rows, second: Rows, buckets: int, others: int):
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"file://{folder}")
        before, after = write(store, 1, first, buckets), write(store, 2, second, others)
        diff, mirror = compare(before, after, 100), compare(after, before, 100)
        same = compare(before, before, 100)
    assert told(diff) == by_dicts(first, second)
    assert told(mirror) == by_dicts(second, first)
    assert same.same_rows and not same.rows and not same.columns and same.shards["read"] == 0
    assert diff.same_rows == (first == second)
    for one in diff.groups:
        left, right = ([n for n, r in rows.items() if (r["split"], r["origin"]) == (one.split, one.origin)]
                       for rows in (first, second))  # fmt: skip
        assert (one.before, one.after) == (len(left), len(right))
        assert one.before + one.added - one.removed + one.moved_in - one.moved_out == one.after


def some(count: int = 12, **given) -> Rows:
    row = {"split": "train", "label": "a", "media": b"one", "caption": "x", "weight": None, "parent": None,
           "objects": None, "mixed": None, "origin": "real"}  # fmt: skip
    return {f"{number:032x}": row | given for number in range(count)}


def test_shards_of_both_are_not_read(store: Store):
    rows = some()
    before = write(store, 1, rows, buckets=3)
    after = write(store, 2, rows | {f"{0:032x}": {**rows[f"{0:032x}"], "caption": "y"}}, buckets=3)
    for receipt in before.shards():
        if receipt.digest in {one.digest for one in after.shards()}:
            store.delete(receipt.name)
    diff = compare(before, after)
    assert diff.shards == {"same": 2, "read": 2} and diff.columns == {"caption": 1}


def test_the_rows_that_are_listed_are_the_first_of_each_sort(store: Store):
    before, after = write(store, 1, some(3)), write(store, 2, some(9, label="b"))
    diff = compare(before, after, 2)
    assert [(row.what, int(row.id, 16)) for row in diff.rows] == [
        ("added", 3), ("added", 4), ("changed", 0), ("changed", 1)]  # fmt: skip
    assert diff.rows[-1].columns == ["label"] and diff.rows[0].splits == (None, "train")
    assert diff.relabelled == [("a", "b", 3)]


def test_classes_that_were_added_before_others_relabel_nothing(store: Store):
    rows = some(4, label="b")
    other = rows | {f"{99:032x}": some(1, label="a")[f"{0:032x}"]}
    diff = compare(write(store, 1, rows), write(store, 2, other))
    assert not diff.columns and sum(one.added for one in diff.groups) == 1


def test_the_classes_of_second_parents_are_names_too(store: Store):
    mixed = {"parent": "p", "label": "b", "share": 0.5}
    rows = some(3, label="b", mixed=mixed)
    other = rows | {f"{99:032x}": some(1, label="a")[f"{0:032x}"], f"{2:032x}": {**rows[f"{2:032x}"], "mixed": None}}
    assert compare(write(store, 1, rows), write(store, 2, other)).columns == {"mixed": 1}


def select(store: Store, key: str, classes: dict) -> None:
    manifests.publish(store, Manifest("select", 1, key, {}, [], [], {}, {"quarantine": {}, "classes": classes}))


GATE = {"model": "gan", "gate": "copies", "value": 0.01, "limit": "max 0.02", "passed": True, "doubt": ""}


def test_what_explains_the_rows_is_told_too_and_what_is_gone_named(store: Store):
    stages = [{"measure": {"key": f"m{n}"}, "select": {"key": f"s{n}"}} for n in (1, 2)]
    for number, rows in ((1, 3), (2, 5)):
        select(store, f"s{number}", {"a": {"train": rows, "test": 1}})
    said = [{"stages": stages[n], "quarantine": {"blur": n}, "recipe": {"select": {"blur": n}},
             "gates": [{**GATE, "passed": bool(n)}]} for n in (0, 1)]  # fmt: skip
    diff = compare(write(store, 1, some(), **said[0]), write(store, 2, some(), **said[1]))
    assert diff.labels == {"a": (4, 6)} and diff.quarantine == {"blur": (0, 1)}
    assert [str(one) for one in diff.recipe] == ["select.blur: 0 → 1"]
    assert [before.split(":")[0] for before, _ in diff.gates] == ["failed"]
    assert diff.lacking == [f"The facts behind d@v{n} are no longer on the lake: no distributions." for n in (1, 2)]
    assert json.loads(words.as_json(diff))["recipe"] == [{"path": "select.blur", "before": 0, "now": 1}]


def test_one_name_is_compared_with_the_version_before_it_that_stands(store: Store):
    for number in (1, 2, 3):
        write(store, number, some(number))
    assert [one.number for one in pair(store, "d")] == [2, 3]
    assert [one.number for one in pair(store, "d@v2")] == [1, 2]
    versions.withdraw(store, "d", 2, "wrong")
    assert [one.number for one in pair(store, "d@v3")] == [1, 3]
    assert [one.number for one in pair(store, "d@v2", "d@v1")] == [2, 1]
    with pytest.raises(DsrayError, match="No version stands before d@v1"):
        pair(store, "d@v1")


def test_a_damaged_shard_is_named(store: Store, tmp_path: Path):
    before, after = write(store, 1, some(), buckets=1), write(store, 2, some(5), buckets=1)
    name = before.shards()[0].name
    path = tmp_path / "lake" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DsrayError, match=f"{name} is damaged"):
        compare(before, after)


def test_a_release_without_rows(store: Store):
    diff = compare(write(store, 1, {}), write(store, 2, some(2)))
    assert [(one.before, one.added, one.after) for one in diff.groups] == [(0, 2, 2)]
