"""The house: layout, mirrored tests, the README's tree and commands, one version, small files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dsray

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("dsray", "crawlers", "jobs") for path in (ROOT / folder).rglob("*.py")]
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_the_package_is_typed_and_says_its_version_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / "dsray" / "py.typed").exists()
    assert project["version"] == dsray.__version__


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_idea_with_a_docstring(path):
    text = path.read_text()
    assert text.startswith('"""'), "a file says what it is"
    assert path.stem not in VAGUE
    assert text.count("\n") <= 400, "past 400 lines a file asks to be two"


def test_every_module_with_logic_is_named_in_a_test():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    thin = {"__init__", "__main__", "version"}
    missing = [
        str(path.relative_to(ROOT))
        for path in CODE
        if path.stem not in thin and not re.search(rf"\b{re.escape(path.stem)}\b", tests)
    ]
    assert not missing


def test_the_tree_in_the_readme_is_the_tree_on_disk():
    block = re.search(r"```\n(recipes/.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block, "the README shows the layout"
    for line in block.group(1).splitlines():
        name = line.split()[0]
        assert (ROOT / name).exists() or (ROOT / "dsray" / name).exists(), f"the README names {name}"


def test_the_readme_names_only_commands_that_are_there():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test", "bench", "check", "help"} <= targets
    assert set(re.findall(r"\bmake (\w+)", readme)) <= targets
    text = subprocess.run([sys.executable, "-m", "dsray", "--help"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^\s{4}(\w+)\s", text, re.M))
    assert set(re.findall(r"^\$? ?dsray (\w+)", readme, re.M)) <= verbs


def test_ci_calls_exactly_make_test():
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "exec make test"


def test_no_file_names_a_package_registry():
    known = re.compile(r"(pypi|pythonhosted|npmjs|debian)\.(org|com)")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    guilty = [
        name
        for name in files
        if (ROOT / name).suffix not in (".png",) and known.search((ROOT / name).read_text(errors="replace"))
    ]
    assert not guilty


def test_every_dependency_is_pinned():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[\[<>=;! ]", want)[0].lower().replace("_", "-") for want in wanted} - {"dsray"}
    assert names <= pinned
