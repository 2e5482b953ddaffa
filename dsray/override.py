"""A recipe with some of its values changed from outside: `select.drop.blur.min=30`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dsray import recipe as recipes
from dsray.errors import RecipeError
from dsray.recipe import Recipe


def load(path: Path, changes: Sequence[str]) -> tuple[Recipe, Recipe]:
    """The recipe in a file as it is, and with the changes. Raises RecipeError; it names the path that is wrong."""
    plain = recipes.load(path)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    for change in changes:
        _set(data, change)
    try:
        return plain, recipes.parse(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), "--set")
    except RecipeError as error:
        raise RecipeError(re.sub(r"^--set:\d+: ", "--set: ", str(error), flags=re.MULTILINE)) from error


def _set(data: dict[str, Any], change: str) -> None:
    """Puts the value at its path; mappings on the way that are not there come to be, lists are reached by number."""
    where, equals, text = change.partition("=")
    path = where.split(".")
    if not equals or not all(path):
        raise RecipeError(f"--set {change}: not a change.", "Write a path and a value: select.drop.blur.min=30.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {where}: the value is not YAML: {text}.") from error
    here: Any = data
    for place, part in enumerate(path):
        last = place == len(path) - 1
        if isinstance(here, list) and part.isdigit() and int(part) < len(here):
            key: Any = int(part)
        elif isinstance(here, dict):
            key = part
        else:
            raise RecipeError(f"--set {where}: there is nothing at {'.'.join(path[: place + 1])}.")
        if last:
            here[key] = value
        elif isinstance(here, dict) and here.get(key) is None:
            here[key] = {}
        if not last:
            here = here[key]
