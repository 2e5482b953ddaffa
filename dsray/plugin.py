"""Your own code in a recipe: `module:function`, beside the recipe or importable from where dsray runs, and part of what
makes a thing."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from dsray import keys
from dsray.errors import RecipeError

FOLDERS = "DSRAY_MODULES"
"""Environment variable: folders of modules. Ray's workers and their children inherit it from who starts Ray."""

_DO = "Write `module:function`; the module lies beside the recipe, or where dsray runs."


def beside(folder: Path) -> None:
    """Modules in the recipe's folder can be imported from now on, here and in the processes that are started here."""
    known = [name for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]
    os.environ[FOLDERS] = os.pathsep.join(dict.fromkeys([str(folder.absolute()), *known]))


@lru_cache(maxsize=64)
def load(name: str) -> Callable[..., Any]:
    """The function of that name. Raises RecipeError when there is none."""
    module, _, function = name.partition(":")
    if not (module and function):
        raise RecipeError(f"{name!r} names no function.", _DO)
    try:
        found = getattr(_imported(module), function)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise RecipeError(f"{name!r} cannot be had: {_first(error)}.", _DO) from error
    if not callable(found):
        raise RecipeError(f"{name!r} is no function.", _DO)
    return found  # type: ignore[no-any-return]


def module(name: str) -> ModuleType | None:
    """The module of that name; None when there is none. Raises RecipeError when it is there and cannot be imported."""
    try:
        return _imported(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise RecipeError(f"The module {name!r} cannot be imported: {_first(error)}.", _DO) from error
    except (Exception, SystemExit) as error:
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        raise RecipeError(f"The module {name!r} cannot be imported: {_first(error)}.", _DO) from error


def versions(names: Iterable[str]) -> dict[str, str]:
    """`module:function`, or a module → SHA-256 of its source: for a step's key, so that a change makes it again.

    Of a package all files count; what a module imports does not.
    """
    return {name: _digest(name.partition(":")[0]) for name in sorted(set(names))}


def _digest(module: str) -> str:
    _search()
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # of a dotted name the packages are imported
        raise RecipeError(f"The module {module!r} cannot be had: {_first(error)}.", _DO) from error
    files = [Path(spec.origin)] if spec and spec.origin else []
    for folder in (spec and spec.submodule_search_locations) or ():
        files = sorted(Path(folder).rglob("*.py"))
    if not files:
        raise RecipeError(f"There is no module {module!r}.", _DO)
    return keys.digest(b"".join(path.read_bytes() for path in files))


def _imported(name: str) -> ModuleType:
    _search()
    return importlib.import_module(name)


def _search() -> None:
    """The recipe's folder, then the folder where dsray was called, which the console script's path lacks. Last in the
    path: a module of yours never hides an installed one."""
    folders = [*os.environ.get(FOLDERS, "").split(os.pathsep), os.getcwd()]  # noqa: PTH109  # as sys.path holds it
    if new := [folder for folder in dict.fromkeys(folders) if folder and folder not in sys.path]:
        sys.path.extend(new)
        importlib.invalidate_caches()


def _first(error: BaseException) -> str:
    """Its first line: what a person reads in a sentence."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(": .")
