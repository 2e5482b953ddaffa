"""stages.imports: labels from a file reach the rows that they name, and only those."""

import pytest

from dsray.errors import SourceError
from dsray.labelling import LabelFile
from dsray.lake import shards
from dsray.stages import imports
from rows import raw_table

URLS = [
    "http://site/a/x.png",
    "http://site/b/x.png",
    "file:///d/b%20c/y.png",
    "s3://b/t.tar#in/z.png",
    "http://s/q.png?v=1",
]


@pytest.fixture
def raws(store):
    table = raw_table([str(at).encode() for at in range(len(URLS))])
    table = table.set_column(table.column_names.index("url"), "url", [URLS])
    return [shards.write_raw(store, "s", table.slice(at, 2)) for at in (0, 2, 4)], table


def matched(text, raws, store, tmp_path, **said):
    path = tmp_path / "l.csv"
    path.write_text(text)
    config = LabelFile(path=str(path), **said)
    return imports.match({1: config}, ["", "file:l.csv"], raws[0], store)


def labels_of(found, table) -> dict[str, list[str]]:
    ids = dict(zip(table["id"].to_pylist(), table["url"].to_pylist(), strict=True))
    return {ids[row]: [one[1] for one in said] for given in found.given for row, said in given.get("1", {}).items()}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("x.png", URLS[:2]),
        ("b/x.png", URLS[1:2]),
        ("/site/b/x.png", []),
        ("xx.png", []),
        ("b c/y.png", URLS[2:3]),
        ("z.png", URLS[3:4]),
        ("t.tar/in/z.png", URLS[3:4]),
        ("q.png", URLS[4:]),
    ],
)
def test_a_path_is_the_end_of_the_urls_path(key, found, raws, store, tmp_path):
    told = matched(f"path,label\n{key},cat\n", raws, store, tmp_path)
    assert labels_of(told, raws[1]) == {url: ["cat"] for url in found}
    assert told.told["file:l.csv"] == {
        "labels": 1, "matched": int(bool(found)), "unmatched": int(not found), "repeated": 0}  # fmt: skip


@pytest.mark.parametrize("by", ["id", "url", "digest"])
def test_other_keys_are_the_column_itself(by, raws, store, tmp_path):
    values = raws[1][by].to_pylist()
    text = f"{by},label\n" + "".join(f"{value},{at}\n" for at, value in enumerate(values)) + "nobody,9\n"
    found = matched(text, raws, store, tmp_path)
    assert labels_of(found, raws[1]) == {url: [str(at)] for at, url in enumerate(URLS)}
    assert found.told["file:l.csv"]["unmatched"] == 1


def test_a_shard_is_given_its_own_rows_labels_and_both_of_a_repeated_key(raws, store, tmp_path):
    text = "path,label\na/x.png,one\na/x.png,two\nq.png,three\n"
    found = matched(text, raws, store, tmp_path)
    assert labels_of(found, raws[1]) == {URLS[0]: ["one", "two"], URLS[4]: ["three"]}
    assert found.given[1] == {} and found.told["file:l.csv"]["repeated"] == 1
    again = matched(text.replace("three", "four"), raws, store, tmp_path)
    assert [a == b for a, b in zip(found.given, again.given, strict=True)] == [True, True, False]


def test_a_file_is_read_again_when_it_changed(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("id,label\na,b\n")
    config = LabelFile(path=str(path))
    first = imports.load(config)
    assert imports.load(config) is first
    path.write_text("id,label\na,longer\n")
    assert imports.load(config).sheet.said[0].label == "longer"
    path.unlink()
    with pytest.raises(SourceError, match="There is no file"):
        imports.load(config)


def test_a_file_on_s3(s3):
    s3.create("labels/l.csv", b"id,label\na,b\n")
    assert imports.load(LabelFile(path=f"{s3.url}/labels/l.csv")).sheet.said[0].label == "b"
