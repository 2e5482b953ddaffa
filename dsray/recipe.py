"""The recipe: one YAML file that says where the data comes from and what the dataset must be.

Strict: an unknown key is an error that names file, line, field and the nearest right key. Every default is
written out, so a manifest says all that mattered.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from dsray.collection import Model, Name, Source
from dsray.errors import RecipeError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Pattern(Model):
    """The label is the first group of a regular expression in a text column."""

    column: str = Field(description="A text field of the item.")
    regex: str = Field(description="Its first group is the label.")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        import re

        try:
            groups = re.compile(regex).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups < 1:
            raise ValueError("the regular expression needs a group, as in 'digit (\\d)'")
        return regex


class Labeller(Model):
    """One way to a label; the first that answers wins."""

    pattern: Pattern


class Range(Model):
    """Rows outside [min, max] are dropped."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _some(self) -> "Range":
        if self.min is None and self.max is None:
            raise ValueError("needs `min`, `max` or both")
        return self


class Drop(Model):
    """The rules that send a row to quarantine, in this order; the first that fails is the reason."""

    undecodable: Literal[True] = Field(True, description="Payloads that cannot be decoded; always on.")
    opted_out: bool = Field(True, description="Obey opt-out signals (noai, noimageai, TDM reservation).")
    min_side: float | None = Field(None, ge=1, description="Shorter side, pixels.")
    max_aspect: float | None = Field(None, ge=1, description="Longer side over shorter side.")
    dark: Range | None = Field(None, description="Share of dark pixels.")
    bright: Range | None = Field(None, description="Share of bright pixels.")
    low_information: Range | None = Field(None, description="Entropy of grey levels, bits.")
    brightness: Range | None = Field(None, description="Mean grey level.")
    contrast: Range | None = Field(None, description="Standard deviation of grey levels.")
    blur: Range | None = Field(None, description="Variance of the Laplacian; low is blurred.")
    colourfulness: Range | None = Field(None, description="Hasler and Süsstrunk's colourfulness.")
    unlabelled: bool = Field(True, description="Rows that no labeller could name.")

    def ranges(self) -> list[tuple[str, str, float | None, float | None]]:
        """(rule, signal, min, max) for every threshold that is set, in order."""
        found: list[tuple[str, str, float | None, float | None]] = []
        for rule in type(self).model_fields:
            limit = getattr(self, rule)
            if isinstance(limit, Range):
                found.append((rule, rule, limit.min, limit.max))
            elif rule == "min_side" and limit is not None:
                found.append((rule, "side", limit, None))
            elif rule == "max_aspect" and limit is not None:
                found.append((rule, "aspect", None, limit))
        return found


class Duplicates(Model):
    """Of each group of duplicates the best row stays."""

    exact: bool = Field(True, description="Same bytes.")
    radius: int | None = Field(None, ge=0, le=16, description="Near-duplicates: bits of 64 that may differ.")


class Split(Model):
    """Shares of the splits. A cluster of duplicates is never torn apart."""

    train: Fraction = Field(0.8, description="Rows to learn from; augmented and synthetic rows join them.")
    validation: Fraction = Field(0.1, description="Rows to choose by.")
    test: Fraction = Field(0.1, description="Rows to judge by; evaluate uses them.")

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, not 1")
        return self


class Select(Model):
    drop: Drop = Field(Drop(), description="Rules that quarantine a row by itself.")
    duplicates: Duplicates = Field(Duplicates(), description="Which rows are the same.")
    split: Split = Field(Split(), description="Shares of train, validation, test.")


class Render(Model):
    """The one form that all samples get."""

    side: int = Field(64, ge=4, le=4096, description="Pixels of both sides.")
    mode: Literal["L", "RGB"] = Field("RGB", description="Grey or colour.")
    format: Literal["png", "jpeg", "webp"] = Field("png", description="Encoding; png is lossless.")
    fit: Literal["pad", "crop", "stretch"] = Field("pad", description="How another aspect becomes a square.")


class Augment(Model):
    """Copies of training samples, all affine steps in one warp."""

    copies: int = Field(1, ge=0, le=64, description="Copies of each training row.")
    rotate: float = Field(0, ge=0, le=180, description="Degrees, either way.")
    scale: tuple[float, float] = Field((1, 1), description="Range of the scale.")
    translate: Fraction = Field(0, description="Share of the side, either way.")
    shear: float = Field(0, ge=0, le=45, description="Degrees, either way.")
    flip: bool = Field(False, description="Mirror left and right, half of the time.")
    brightness: Fraction = Field(0, description="Share of the range, either way.")
    contrast: Fraction = Field(0, description="Share, either way.")
    noise: Fraction = Field(0, description="Standard deviation of Gaussian noise, share of the range.")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError("needs 0 < low <= high")
        return scale


class Synthesis(Model):
    """One generative model: trained on the real training rows, then sampled."""

    preset: str = Field("quick", description="A preset of the architecture.")
    rows: int = Field(1000, ge=1, description="Synthetic rows.")
    workers: int = Field(1, ge=1, description="Training workers.")
    seed: int | None = Field(None, ge=0, description="Seed of training and sampling; default: the recipe's.")


class Limit(Model):
    """A gate: the score must be at least `min` and at most `max`."""

    min: float | None = None
    max: float | None = None


class Evaluate(Model):
    gates: dict[Literal["usefulness", "copies", "distance"], Limit] = Field(
        {"usefulness": Limit(min=0.85), "copies": Limit(max=0.02)},
        description="usefulness: accuracy of train-on-synthetic over train-on-real; copies: share of copied rows; "
        "distance: Fréchet distance over the real-against-real floor.",
    )
    seeds: int = Field(3, ge=1, le=20, description="Classifiers trained for each usefulness score.")


class Release(Model):
    shard_mb: float = Field(128, gt=0, description="Megabytes of one Parquet shard, about.")
    title: str = Field("", description="Name in the dataset card.")
    license: str = Field("", description="Licence identifier in the dataset card.")


class Recipe(Model):
    dataset: Name = Field(description="Its name: lower-case letters, digits, - and _.")
    kind: Literal["image"] = Field("image", description="The modality.")
    lake: str | None = Field(None, description="s3://bucket/prefix or file:///path; without it the embedded S3 server.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of every random choice.")
    collect: dict[Name, Source] = Field(min_length=1, description="Sources by name.")
    label: list[Labeller] = Field([], description="Labellers, asked in order.")
    select: Select = Field(Select(), description="Rules, duplicates, splits.")
    render: Render = Field(Render(), description="The samples' one form.")
    augment: Augment | None = Field(None, description="Copies of training rows; without it none.")
    synthesize: dict[Literal["gan", "vae"], Synthesis] = Field({}, description="Models by architecture.")
    evaluate: Evaluate = Field(Evaluate(), description="Scores and gates of synthetic rows.")
    release: Release = Field(Release(), description="Shards and card.")

    @model_validator(mode="after")
    def _labelled_by_what_is_there(self) -> "Recipe":
        known = sorted({*self.texts(), "page", "source", "url"})
        for labeller in self.label:
            if labeller.pattern.column not in known:
                raise ValueError(f"no source has a field '{labeller.pattern.column}' to label by; there are: "
                                 f"{', '.join(known)}")  # fmt: skip
        return self

    def texts(self) -> list[str]:
        """The text columns that the sources bring, sorted."""
        return sorted({field for source in self.collect.values() for field in source.fields()})


def load(path: Path) -> Recipe:
    """The recipe in a file. Raises RecipeError with file, line, field, what is wrong and what would be right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RecipeError(f"{path}: the recipe cannot be read: {reason}.", "Give the path of a YAML file.") from error
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
        return Recipe.model_validate(data)
    except ValidationError as error:
        problems = [_problem(name, root, dict(p)) for p in error.errors()]
        raise RecipeError("\n".join(problems)) from error


def _problem(name: str, root: Any, problem: dict[str, Any]) -> str:
    path = [part for part in problem["loc"] if part != "[key]"]
    line = _line(root, path)
    field = ".".join(str(part) for part in path) or "recipe"
    if problem["type"] == "extra_forbidden":
        known = _siblings(path)
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


def _siblings(path: list[Any]) -> list[str]:
    """The keys that are right where the last part of the path stands."""
    schema = Recipe.model_json_schema()
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
