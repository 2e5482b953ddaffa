"""dsray.plugin: code of one's own, found where it should be, and one sentence where it is not."""

import os
import sys
from pathlib import Path

import pytest

from dsray import kinds, plugin
from dsray.errors import RecipeError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe's folder, with the search path as it was afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(plugin.FOLDERS, "")
    plugin.load.cache_clear()
    before = set(sys.modules)
    plugin.beside(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def wrong(name: str) -> str:
    with pytest.raises(RecipeError) as caught:
        plugin.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_function_beside_the_recipe_is_found_and_inherited(folder):
    (folder / "near_by.py").write_text("def twice(x): return 2 * x\n")
    assert plugin.load("near_by:twice")(4) == 8
    assert os.environ[plugin.FOLDERS].split(os.pathsep)[0] == str(folder)


def test_a_module_of_ones_own_hides_no_installed_one(folder):
    (folder / "numpy.py").write_text("raise ValueError\n")
    (folder / "colorsys.py").write_text("raise ValueError\n")
    assert plugin.load("colorsys:rgb_to_hsv")(0, 0, 0) == (0.0, 0.0, 0)
    assert plugin.load("numpy:mean")([1, 3]) == 2


def test_the_newest_recipes_folder_comes_first(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for place, value in ((folder, 1), (other, 2)):
        (place / "both_have_it.py").write_text(f"def which(): return {value}\n")
    plugin.beside(other)
    assert plugin.load("both_have_it:which")() == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("plain", "", "names no function"),
        (":f", "", "names no function"),
        ("there_is_none:f", None, "No module named 'there_is_none'"),
        ("lacks_it:f", "g = 1", "has no attribute 'f'"),
        ("no_function:f", "f = 3", "is no function"),
        ("raises:f", "raise ValueError('first\\nsecond')", "ValueError: first."),
        ("exits:f", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("broken:f", "def f(:", "SyntaxError"),
        ("needs_more:f", "import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("..:f", None, "cannot be had"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(folder, name, text, words):
    if text is not None:
        (folder / f"{name.partition(':')[0] or 'x'}.py").write_text(text)
    assert words in wrong(name)


def test_a_kind_that_cannot_be_imported_says_why_and_one_that_is_not_there_is_none(folder):
    (folder / "half_a_kind.py").write_text("COLUMN = 'x'\n")
    (folder / "broken_kind.py").write_text("import half_a\n")
    (folder / "half_b.py").write_text("import half\n")
    assert plugin.module("no_such_kind") is None and plugin.module("no kind") is None and plugin.module("") is None
    for name, lacks in (("broken_kind", "half_a"), ("half_b", "half")):
        with pytest.raises(RecipeError, match=f"The module '{name}' cannot be imported.*'{lacks}'"):
            plugin.module(name)
    with pytest.raises(KeyError, match="'half_a_kind' is no kind: it lacks Augment"):
        kinds.kind("half_a_kind")


def test_a_version_changes_with_the_source_and_with_any_file_of_a_package(folder):
    (folder / "alone.py").write_text("def f(): return 1\n")
    (folder / "pack").mkdir()
    for name in ("__init__", "inner"):
        (folder / "pack" / f"{name}.py").write_text(f"# {name}\n")
    before = plugin.versions(["alone:f", "pack"])
    assert plugin.versions(["pack", "alone:f"]) == before
    (folder / "pack/inner.py").write_text("# other\n")
    after = plugin.versions(["alone:f", "pack"])
    assert after["alone:f"] == before["alone:f"] and after["pack"] != before["pack"]
    with pytest.raises(RecipeError, match="There is no module 'gone'"):
        plugin.versions(["gone:f"])
