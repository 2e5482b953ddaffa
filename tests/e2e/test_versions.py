"""Versions as a person uses them: tags, pinning, withdrawal, diff; by the verbs and by dsray.load."""

import json
import re

import pytest

import dsray as api
from dsray import cli
from dsray.errors import DsrayError
from runs import dsray, lake


@pytest.fixture
def verb(two, capsys):
    """Runs a verb on the lake: (exit code, what it said)."""

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main([*arguments, "--lake", f"file://{two[0]}"])
        out = capsys.readouterr()
        return code, out.out + out.err

    return run


def rows(two, name: str) -> int:
    return api.load(name, lake=f"file://{two[0]}").arrow().num_rows


def test_load_is_pinned_by_number_and_by_tag(two, verb):
    newest = rows(two, "digits")
    assert verb("tag", "digits@v1", "gold") == (0, "digits@gold is v1.\n")
    assert (
        rows(two, "digits@gold") == rows(two, "digits@v1") == rows(two, "digits@1") > newest == rows(two, "digits@v2")
    )
    assert verb("tag", "digits@v2", "gold") == (0, "digits@gold is v2; it was v1.\n")
    assert rows(two, "digits@gold") == newest
    assert "digits                   v1  v2 (gold)" in verb("show")[1]
    assert verb("tag", "digits@gold", "--delete") == (0, "digits@gold is gone; it was v2, which stays.\n")
    with pytest.raises(DsrayError, match=r"'gold' is not a version or tag of digits\. Known: v1, v2\."):
        rows(two, "digits@gold")


@pytest.mark.parametrize(("arguments", "said"), [
    (["tag", "digits", "gold"], "Say both: dsray tag digits@v3 gold."),
    (["tag", "digits@v1"], "Say both: dsray tag digits@v3 gold."),
    (["tag", "digits@v1", "v7"], "'v7' cannot be a tag."),
    (["tag", "digits@gold", "--delete"], "digits has no tag 'gold'. Known: none."),
    (["withdraw", "digits", "--reason", "x"], "Say which: digits@v3."),
    (["withdraw", "digits@v1", "--reason", " "], "A withdrawal needs a reason."),
    (["withdraw", "digits@v9", "--undo"], "There is no digits@v9"),
    (["diff", "digits@v1"], "No version stands before digits@v1."),
])  # fmt: skip
def test_what_names_no_version_is_refused(verb, arguments, said):
    code, words = verb(*arguments)
    assert code == 1 and words.startswith("dsray: ") and said in words and words.count("\n") == 1


def test_a_withdrawn_version_is_kept_from_readers_until_it_is_given_back(two, verb):
    before = rows(two, "digits@v2")
    verb("tag", "digits@v2", "gold")
    code, said = verb("withdraw", "digits@v2", "--reason", "labels of [seven] are wrong")
    assert code == 0 and "labels of [seven] are wrong." in said and "gold: removed" in said
    assert "`digits` means v1" in said
    with pytest.raises(DsrayError, match=r"digits@v2 was withdrawn on .*: labels of \[seven\] are wrong\. Known: v1\."):
        rows(two, "digits@v2")
    assert rows(two, "digits") == rows(two, "digits@v1")
    assert "v2 (withdrawn)" in verb("show")[1]
    for name in ("digits", "digits@v2"):
        assert "withdrawn on" in verb("show", name)[1]
    assert verb("diff", "digits@v1", "digits@v2")[0] == 0
    assert verb("withdraw", "digits@v2", "--undo")[0] == 0
    assert rows(two, "digits@v2") == before


def test_a_run_that_ends_at_a_withdrawn_version_says_so(two, verb, tmp_path):
    folder, _, sharper = two
    (tmp_path / "sharper.yaml").write_text(sharper)
    verb("withdraw", "digits@v2", "--reason", "too few rows")
    done = dsray("run", "sharper.yaml", "--lake", f"file://{folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits@v2 was withdrawn" in done.stdout and "too few rows. Readers get v1;" in done.stdout
    assert "dsray withdraw digits@v2 --undo" in done.stdout and "use it" not in done.stdout


def test_show_tells_a_versions_history(two, verb):
    verb("tag", "digits@v2", "gold")
    verb("withdraw", "digits@v1", "--reason", "blurred rows")
    said = verb("show", "digits")[1]
    assert said.startswith("digits@v2 ") and "created      20" in said and "tags         gold" in said
    assert re.search(r"v1 +withdrawn on 20\d\d-\d\d-\d\d: blurred rows\.", said)


def test_diff_says_what_a_threshold_changed(two, verb):
    code, said = verb("diff", "digits")
    assert code == 0 and said.startswith("digits@v1 → digits@v2")
    assert "recipe       select.drop.blur.min: 200.0 → 5000.0" in said and "KS distance" in said
    found = json.loads(verb("diff", "digits@v1", "digits@v2", "--json", "--rows", "--limit", "10000")[1])
    with lake(two[0]) as store:
        ids = [set(api.dataset.Dataset(api.dataset.find(store, name), None).arrow()["id"].to_pylist())
               for name in ("digits@v1", "digits@v2")]  # fmt: skip
    assert {row["id"] for row in found["rows"] if row["what"] == "removed"} == ids[0] - ids[1]
    assert not ids[1] - ids[0] and not found["same_rows"]
    real = sum(one["removed"] for one in found["groups"] if one["origin"] == "real")
    assert found["quarantine"]["blur"][1] - found["quarantine"]["blur"][0] == real > 0
    assert sum(a - b for a, b in found["labels"].values()) == real
    blur = next(one for one in found["signals"] if one["name"] == "blur")
    assert blur["after"]["mean"] > blur["before"]["mean"] and blur["ks"] > 0
    assert [one["path"] for one in found["recipe"]] == ["select.drop.blur.min"]


def test_diffs_exit_code_tells_programs_whether_rows_differ(verb):
    assert verb("diff", "digits", "--exit-code")[0] == 10
    code, said = verb("diff", "digits@v1", "digits@v1", "--exit-code")
    assert code == 0 and "Both hold the same rows." in said
