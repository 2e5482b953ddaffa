"""The recipe: one YAML file that says where the data comes from and what the dataset must be.

Strict: an unknown key is an error that names file, line, field and the nearest right key. Every default is
written out, so a manifest says all that mattered.
"""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from dsray import kinds, plugin
from dsray.collection import ByLabel, Model, Name, Source
from dsray.errors import RecipeError
from dsray.evaluation import Evaluate
from dsray.labelling import Combine, Labeller
from dsray.selection import Select, drop_of
from dsray.synthesis import Family, Synthesis


class Measure(Model):
    """Facts beyond the kind's own."""

    signals: dict[Name, str] = Field({}, description="Signals of your own: name → `module:function`, which gets the "
                                     "decoded array and returns a number.")  # fmt: skip


class Policy(Model):
    """What is said of one class alone; all else is as for every class. A kind adds its transforms."""

    copies: int = Field(1, ge=0, le=64, description="Copies of each training row.")

    @model_serializer(mode="wrap")
    def _said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}


class Own(Model):
    """A step of your own: a pure function of (array, u, **options), where `u` is 8 keyed numbers in [0, 1)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    function: str = Field(description="`module:function`; what else is said here it gets as options.")

    @field_validator("function")
    @classmethod
    def _module_and_function(cls, name: str) -> str:
        module, colon, function = name.partition(":")
        if not (module and colon and function):
            raise ValueError("it is not `module:function`")
        return name


class Finish(Own):
    """A step of your own: a pure function of (array, **options) that keeps shape and type."""

    files: dict[Name, str] = Field({}, description="Option → file that it gets the bytes of: a path, file:///... or "
                                   "s3://... Another content makes the samples again.")  # fmt: skip


class Render(Model):
    """The samples' one form; a kind says what there is to say of it."""

    own: list[Finish] = Field([], description="Steps of your own on the canonical array, before it is encoded.")

    def spec(self) -> dict[str, Any]:
        """What the kind reads."""
        return self.model_dump(mode="json", exclude={"own"})


class Augment(Model):
    """Copies of training samples; a kind adds its transforms."""

    copies: int = Field(1, ge=0, le=64, description="Copies of each training row.")
    classes: ByLabel[Policy] = Field({}, description="Label → what is otherwise for its rows: copies, transforms.")
    even: int | None = Field(None, ge=1, le=64, description="Rarer classes get more copies, until all are about as "
                             "many as the largest, but no row more copies than this.")  # fmt: skip
    own: list[Own] = Field([], description="Steps of your own, after the kind's transforms.")

    def spec(self) -> dict[str, Any]:
        """The copies and transforms of a class of which nothing is said."""
        return self.model_dump(mode="json", exclude={"classes", "even", "own"})

    def any(self) -> bool:
        """Whether it asks for a copy at all."""
        return bool(self.copies or self.even or any(policy.copies for policy in self.classes.values()))


class Release(Model):
    shard_mb: float = Field(128, gt=0, description="Megabytes of one Parquet shard, at most, about.")
    title: str = Field("", description="Name in the dataset card.")
    license: str = Field("", description="Licence identifier in the dataset card.")
    values: Literal["bytes", "unit", "signed", "standard"] = Field(
        "bytes",
        description="Numbers that loaders give: bytes as they are, unit [0, 1], signed [-1, 1], or standard: per "
        "channel (x - mean) / std over the real training rows.",
    )
    tensor: bool = Field(False, description="Write these numbers as a column `tensor`, float32, channels first.")

    def moments(self) -> bool:
        """Whether the samples' numbers must be looked at before."""
        return self.tensor or self.values == "standard"


class Recipe(Model):
    """What all recipes have; `model` makes the whole of a kind, with its own rules, forms and transforms."""

    dataset: Name = Field(description="Its name: lower-case letters, digits, - and _.")
    kind: str = Field("image", description="The modality: image, or a module of your own that is one (docs/kinds.md).")
    lake: str | None = Field(None, description="s3://bucket/prefix or file:///path; without it the embedded S3 server.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of every random choice.")
    collect: dict[Name, Source] = Field(min_length=1, description="Sources by name.")
    measure: Measure = Field(Measure(), description="Facts beyond the kind's own.")
    label: list[Labeller] = Field([], description="Labellers, asked in order.")
    combine: Combine = Field("precedence", description="How votes become a label: the first, the most, or a model.")
    select: Select = Field(Select(), description="Rules, duplicates, splits.")
    render: Render = Field(Render(), description="The samples' one form.")
    augment: Augment | None = Field(None, description="Copies of training rows; without it none.")
    synthesize: dict[Family, Synthesis] = Field({}, description="Models; merf and dpgan are private.")
    evaluate: Evaluate = Field(Evaluate(), description="Scores and gates of synthetic rows.")
    release: Release = Field(Release(), description="Shards and card.")

    @field_validator("kind")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            kinds.kind(name)
        except KeyError as error:
            raise ValueError(error.args[0]) from error
        return name

    @model_validator(mode="after")
    def _labelled_by_what_is_there(self) -> "Recipe":
        known = sorted({*self.texts(), "page", "source", "url"})
        for labeller in self.label:
            for column in sorted(labeller.columns() - set(known)):
                raise ValueError(f"no source has a field '{column}' to label by; there are: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _drawn(self) -> "Recipe":
        if self.synthesize and kinds.kind(self.kind).FEATURE.get("_type") != "Image":
            raise ValueError(f"`synthesize` draws images, and samples of the kind '{self.kind}' are none")
        return self

    @model_validator(mode="after")
    def _selected_by_what_is_there(self) -> "Recipe":
        select, of_kind = self.select, kinds.kind(self.kind)
        signals = [*of_kind.MEANINGS, *self.measure.signals]
        asked = [("outliers.signals", name) for name in (select.outliers.signals if select.outliers else ())]
        asked += [("duplicates.keep", select.duplicates.keep)] if select.duplicates.keep else []
        groups = ["cluster", "page", "host", "source", *self.texts(), *of_kind.FACTS.names, *self.measure.signals]
        for where, name, known in [*((*one, signals) for one in asked), ("split.by", select.split.by, groups)]:
            if name not in known:
                raise ValueError(f"select.{where}: there is no '{name}'; there are: {', '.join(dict.fromkeys(known))}")
        return self

    def texts(self) -> list[str]:
        """The text columns that the sources bring, sorted."""
        return sorted({field for source in self.collect.values() for field in source.fields()})


def model(kind: str = "image", signals: tuple[str, ...] = ()) -> type[Recipe]:
    """The recipe's model for a kind, with rules for its signals and for `signals` of the recipe's own.

    Raises KeyError for an unknown kind, ValueError for a signal whose name is taken.
    """
    return _model(kind, signals)


@lru_cache(maxsize=16)
def _model(kind: str, signals: tuple[str, ...]) -> type[Recipe]:
    of_kind = kinds.kind(kind)
    own = dict.fromkeys(signals, "A signal of your own.")
    if taken := sorted(own.keys() & {*of_kind.FACTS.names, *of_kind.BOUNDS, "unlabelled", "undecodable", "opted_out"}):
        raise ValueError(f"a signal cannot be named '{taken[0]}': the kind {kind} has one of that name")
    drop = drop_of(of_kind.BOUNDS, of_kind.MEANINGS | own, of_kind.FLAGS)
    select = create_model("Select", __base__=Select, drop=(drop, Field(drop(), description=_words(Select, "drop"))))
    render = create_model("Render", __base__=(of_kind.Render, Render), __doc__=of_kind.Render.__doc__)
    policy = create_model("Policy", __base__=(of_kind.Augment, Policy), __doc__=Policy.__doc__)
    augment = create_model(
        "Augment",
        __base__=(of_kind.Augment, Augment),
        __doc__=of_kind.Augment.__doc__,
        classes=(ByLabel[policy], Field({}, description=_words(Augment, "classes"))),
    )
    return create_model(
        "Recipe",
        __base__=Recipe,
        select=(select, Field(select(), description=_words(Recipe, "select"))),
        render=(render, Field(render(), description=_words(Recipe, "render"))),
        augment=(augment | None, Field(None, description=_words(Recipe, "augment"))),
    )


def _words(of: type[Model], field: str) -> str:
    return of.model_fields[field].description or ""


def _asked_for(data: dict[str, Any]) -> type[Recipe]:
    """The model that a recipe's own words ask for; where they are wrong, one that says so."""
    kind, measure = data.get("kind", "image"), data.get("measure")
    signals = measure.get("signals") if isinstance(measure, dict) else None
    try:
        return _model(str(kind), tuple(map(str, signals)) if isinstance(signals, dict) else ())
    except KeyError:
        return model()


def load(path: Path) -> Recipe:
    """The recipe in a file. Raises RecipeError with file, line, field, what is wrong and what would be right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RecipeError(f"{path}: the recipe cannot be read: {reason}.", "Give the path of a YAML file.") from error
    plugin.beside(path.absolute().parent)
    return parse(text, str(path))


def parse(text: str, name: str = "recipe") -> Recipe:
    """The recipe in a text; `name` stands for the file in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise RecipeError(f"{name}:{line}: not YAML: {getattr(error, 'problem', error)}.") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{name}:1: a recipe is a mapping that begins with `dataset: <name>`.")
    try:
        form = _asked_for(data)
    except ValueError as error:
        raise RecipeError(f"{name}:{_line(root, ['measure', 'signals'])}: measure.signals: {error}.") from error
    try:
        return form.model_validate(data)
    except ValidationError as error:
        found = error.errors()
        found = [p for p in found if p["loc"] == ("kind",)] or found  # of another kind all else may be right
        raise RecipeError("\n".join(_problem(form, name, root, dict(p)) for p in found)) from error


def of(data: dict[str, Any]) -> Recipe:
    """The recipe that a manifest holds, as `model_dump` wrote it. Raises RecipeError for one that this dsray does not
    know."""
    try:
        return _asked_for(data).model_validate(data)
    except ValidationError as error:
        wrong = error.errors()[0]
        field, message = ".".join(map(str, wrong["loc"])), wrong["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"The recipe of '{data.get('dataset')}' is of another dsray: {field or 'recipe'}: {message}."
        ) from error
    except ValueError as error:
        raise RecipeError(f"The recipe of '{data.get('dataset')}' is of another dsray: {error}.") from error


def _problem(form: type[Recipe], name: str, root: Any, problem: dict[str, Any]) -> str:
    path = [part for part in problem["loc"] if part != "[key]"]
    line = _line(root, path)
    field = ".".join(str(part) for part in path) or "recipe"
    if problem["type"] == "extra_forbidden":
        known = _siblings(form, path)
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}."
        return f"{name}:{line}: {field}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    tellable = isinstance(got, str | int | float | bool) and problem["type"] != "password"  # which is not repeated
    shown = f" (got {got!r})" if tellable else ""
    if problem["type"] == "missing":
        return f"{name}:{line}: {field}: this key is required."
    return f"{name}:{line}: {field}: {message[0].lower()}{message[1:]}{shown}."


def _line(node: Any, path: list[Any]) -> int:
    """The 1-based line of the deepest node on the path that the file has."""
    line = 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _siblings(form: type[Recipe], path: list[Any]) -> list[str]:
    """The keys that are right where the last part of the path stands."""
    schema = form.model_json_schema()
    here: dict[str, Any] = schema
    for part in path[:-1]:
        if "items" in here and isinstance(part, int):
            here = here["items"]
        elif part in here.get("properties", {}):
            here = here["properties"][part]
        elif isinstance(here.get("additionalProperties"), dict):
            here = here["additionalProperties"]
        here = _resolved(here, schema)
    return sorted(here.get("properties", {}))


def _resolved(here: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    options = [here, *here.get("anyOf", []), *here.get("allOf", [])]
    for option in options:
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].split("/")[-1]]
            return found
    return here
