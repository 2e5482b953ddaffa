"""dsray.catalog: what a person is told of a version; the verbs on a real build are in e2e/test_versions.py."""

import io
import json

import pytest

from dsray import catalog
from dsray.console import console_of
from dsray.errors import LakeError
from dsray.lake.store import Missing, Store
from dsray.stages import versions

GATE = {"model": "gan", "gate": "usefulness", "value": 0.4, "limit": "min 0.85", "passed": False, "doubt": ""}
MANIFEST = {
    "format": 1, "dataset": "digits", "classes": ["0", "[b]"], "rows": {"train": {"real": 1200, "gan": 30}},
    "quarantine": {"blur": 4, "dark": 9}, "gates": [GATE], "accepted": {"reason": "a smoke [test]"},
}  # fmt: skip


@pytest.fixture
def two(store: Store) -> Store:
    for number in (1, 2):
        manifest = json.dumps({**MANIFEST, "version": number})
        store.create(f"releases/digits/v{number}/manifest.json", manifest.encode())
        versions.publish(store, "digits", number, f"key {number}")
    return store


def said(store: Store, name: str | None) -> str:
    file = io.StringIO()
    catalog.show(console_of(file), store, name)
    return file.getvalue()


def test_a_release_is_shown_with_its_rows_rules_gates_and_what_was_accepted(two: Store):
    lines = [line.split() for line in said(two, "digits").splitlines()]
    assert lines[0][0] == "digits@v2" and lines[1][0] == "created"
    assert ["train", "1,200", "30"] in lines and ["classes", "0,", "[b]"] in lines
    assert lines.index(["quarantined", "9", "dark"]) < lines.index(["quarantined", "4", "blur"])
    assert "gate         failed  gan: usefulness is 0.400, the limit is min 0.85" in said(two, "digits")
    assert ["accepted", "a", "smoke", "[test]"] in lines


def test_of_a_withdrawn_version_whose_files_are_gone_the_reason_is_left(two: Store):
    versions.withdraw(two, "digits", 1, "it was [not] asked for")
    two.delete("releases/digits/v1/manifest.json")
    assert "it was [not] asked for." in said(two, "digits@v1") and "removed since then" in said(two, "digits@1")
    two.delete("releases/digits/v2/manifest.json")
    with pytest.raises(Missing, match=r"v2/manifest\.json is gone"):
        said(two, "digits")


def test_all_datasets_with_versions_and_tags(two: Store):
    versions.tag(two, "digits", "gold", 1)
    versions.tag(two, "digits", "best", 1)
    versions.withdraw(two, "digits", 2, "wrong")
    versions.publish(two, "letters", 1, "key")
    assert [line.split(maxsplit=1) for line in said(two, None).splitlines()] == [
        ["digits", "v1 (best, gold)  v2 (withdrawn)"], ["letters", "v1"]]  # fmt: skip


def test_a_withdrawal_is_told_once_and_keeps_its_first_reason(two: Store):
    file = io.StringIO()
    for reason in ("first", "second"):
        catalog.withdraw(console_of(file), two, "digits@v2", reason, undo=False)
    assert file.getvalue().count("first.") == 2 and "second" not in file.getvalue()
    assert catalog.told_withdrawn(console_of(file), two, "digits", 2)
    assert not catalog.told_withdrawn(console_of(file), two, "digits", 1)


def test_what_the_name_means_after_a_withdrawal_is_what_readers_get(two: Store):
    two.create("releases/digits/v3/manifest.json", json.dumps({**MANIFEST, "version": 3}).encode())
    versions.publish(two, "digits", 3, "key 3")
    versions.point(two, "digits", 1)  # a change was taken back
    file = io.StringIO()
    catalog.withdraw(console_of(file), two, "digits@v2", "wrong", undo=False)
    assert "`digits` means v1" in file.getvalue() and versions.resolve(two, "digits") == ("digits", 1)
    catalog.told_withdrawn(console_of(file), two, "digits", 2)
    assert "Readers get v1" in file.getvalue()


def test_a_manifest_of_a_newer_dsray_is_not_guessed_at(two: Store):
    two.create("releases/digits/v3/manifest.json", json.dumps({**MANIFEST, "version": 3, "format": 2}).encode())
    versions.publish(two, "digits", 3, "key 3")
    with pytest.raises(LakeError, match=r"written by a newer dsray \(format 2\)\. Update dsray"):
        said(two, "digits")
