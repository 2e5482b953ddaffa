"""docs/recipe.md says what the models say. After a change: `PYTHONPATH=. python tests/dsray/test_recipe_page.py`."""

import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dsray import recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
HEAD = """\
# The recipe

Every field, with its default. `dsray schema` prints the same as JSON Schema. An unknown key is an error. Own code is
named `module:function`; the module lies beside the recipe, or where dsray is called (docs/kinds.md)."""
FOOT = """\
Rules of `select.drop` apply in the order of their table, after the crawler's own (`robots`, `opted_out`, `http_status`,
`redirects`, `too_large`, `timeout`, `unreachable`, `address`, `invalid`) and before duplicates.

What `augment.classes` says of a label wins over `even`; what it does not say is as for every class. `mean` and `std` of
standard values are in the units of the bytes, 0 to 255, and stand in the release's `manifest.json`; the std of a
channel that never changes is 1. A release has the columns `objects`, `weight` and `mixed` when a row of it has one.
"""
LONGEST = 60


def page() -> str:
    """A table a model, in the order of the recipe."""
    sections, seen = [HEAD], set()
    for path, model in models(recipe.model(), ""):
        if model not in seen:
            seen.add(model)
            words = " ".join((model.__doc__ or "").split()) if path else ""
            title = f"`{path}`" if path else "A recipe"
            sections.append("\n\n".join(filter(None, [f"## {title}", words, table(model)])))
    return "\n\n".join([*sections, FOOT])


def models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those of its fields, each with its place in a recipe."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner, suffix in inside(field.annotation):
            yield from models(inner, f"{path}.{name}{suffix}".lstrip("."))


def inside(hint: typing.Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint, suffix
    for argument in arguments if origin is not typing.Literal else ():
        yield from inside(argument, suffix + {list: "[]", dict: ".<name>"}.get(origin, ""))


def table(model: type[BaseModel]) -> str:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else shown(field.default)
        rows.append(f"| `{name}` | {typed(field.annotation)} | {default} | {field.description or ''} |")
    return "\n".join(rows)


def shown(default: typing.Any) -> str:
    if default is None or default == "" or default is PydanticUndefined:
        return ""
    if isinstance(default, BaseModel):
        default = default.model_dump(exclude_none=True)
    return "see below" if len(str(default)) > LONGEST else str(default)


def typed(hint: typing.Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return "none"
    if origin is typing.Annotated:
        return typed(arguments[0])
    if origin is typing.Literal:
        return ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(typed(argument) for argument in arguments if argument is not type(None))
    if origin:
        return f"{origin.__name__}[{', '.join(typed(argument) for argument in arguments)}]"
    return getattr(hint, "__name__", str(hint))


def test_the_page_is_what_the_models_say():
    assert PAGE.read_text() == page(), f"run {Path(__file__).name} to write it anew"


def test_every_field_is_explained():
    for path, model in models(recipe.model(), ""):
        for name, field in model.model_fields.items():
            assert field.description or name in ("min", "max"), f"{path}.{name}"


if __name__ == "__main__":
    PAGE.write_text(page())
