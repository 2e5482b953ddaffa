"""Your own code in a recipe: `module:function`, importable from where dsray runs, and part of what makes a thing."""

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

_DO = "Write `module:function`; the module must be importable from where dsray runs."


@lru_cache(maxsize=64)
def load(name: str) -> Callable[..., Any]:
    """The function of that name. Raises RecipeError when there is none."""
    module, _, function = name.partition(":")
    if not (module and function):
        raise RecipeError(f"{name!r} names no function.", _DO)
    _here()
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module may raise anything while it is imported
        raise RecipeError(f"{name!r} cannot be had: {error}.", _DO) from error
    if not callable(found):
        raise RecipeError(f"{name!r} is no function.", _DO)
    return found  # type: ignore[no-any-return]


def module(name: str) -> ModuleType | None:
    """The module of that name; None when there is none. Raises RecipeError when it is there and cannot be imported."""
    _here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return None
        raise RecipeError(f"The module {name!r} cannot be imported: {error}.", _DO) from error
    except (ValueError, TypeError):  # no name of a module
        return None
    except Exception as error:
        raise RecipeError(f"The module {name!r} cannot be imported: {error}.", _DO) from error


def versions(names: Iterable[str]) -> dict[str, str]:
    """`module:function`, or a module → SHA-256 of its source: for a step's key, so that a change makes it again.

    Of a package all files count; what a module imports does not.
    """
    return {name: _digest(name.partition(":")[0]) for name in sorted(set(names))}


def _digest(module: str) -> str:
    _here()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise RecipeError(f"The module {module!r} cannot be had: {error}.", _DO) from error
    if spec is None or not spec.origin:
        raise RecipeError(f"There is no module {module!r}.", _DO)
    files = [Path(spec.origin)]
    for folder in spec.submodule_search_locations or ():
        files = sorted(Path(folder).rglob("*.py"))
    return keys.digest(b"".join(path.read_bytes() for path in files))


def _here() -> None:
    """The console script's path lacks the folder where it was called."""
    if (folder := os.getcwd()) not in sys.path:  # noqa: PTH109  # as sys.path holds it
        sys.path.append(folder)
        importlib.invalidate_caches()
