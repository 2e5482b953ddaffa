"""The recipe's `label`: ways to a label. Each answers for itself; every answer is kept with its source."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dsray.collection import Model

Combine = Literal["precedence", "majority", "model"]


class Pattern(Model):
    """The label is the first group of a regular expression in a text column."""

    column: str = Field(description="A text field of the item.")
    regex: str = Field(description="Its first group is the label.")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups < 1:
            raise ValueError("the regular expression needs a group, as in 'digit (\\d)'")
        return regex


class Column(Model):
    """The label is the value of a text column."""

    name: str = Field(description="A text field of the item, `folder` of files for one.")
    map: dict[str, str] = Field({}, description="Value → label; what is not in it abstains. Empty: the value itself.")


class Rule(Model):
    """The label is what your own function says of the row: a label, (label, confidence), or None to abstain."""

    function: str = Field(description="`module:function`; gets a dict of the row: id, url, page, source, texts, facts.",
                          pattern=r"^[\w.]+:\w+$")  # fmt: skip
    confidence: float = Field(1, ge=0, le=1, description="Of a label that comes without one.")
    media: bool = Field(False, description="The row has its `payload` too, bytes or None.")


class LabelFile(Model):
    """Labels and objects that people made: CSV, JSON lines, COCO or Label Studio."""

    path: str = Field(min_length=1, description="One file: a path, file:///... or s3://...")
    format: Literal["csv", "jsonl", "coco", "label-studio"] | None = Field(
        None, description="Default: told by the file's ending and content."
    )
    by: Literal["id", "url", "path", "digest"] | None = Field(
        None, description="What of a row the key is; `path`: the end of its URL's path. Default: what the file offers."
    )
    key: str | None = Field(None, description="The file's column of the key; default: as `by`, or the format's own.")
    label: str = Field("label", description="CSV and JSON lines: the column of the label; an empty one abstains.")
    confidence: str | None = Field(None, description="CSV and JSON lines: the column of the confidence, 0 to 1.")
    source: str | None = Field(None, description="CSV and JSON lines: the column that says who labelled.")


class Labeller(Model):
    """One way to a label: exactly one of pattern, column, rule, file."""

    name: str | None = Field(None, min_length=1, description="The source of its votes; default: as `pattern:caption`.")
    pattern: Pattern | None = Field(None, description="A regular expression.")
    column: Column | None = Field(None, description="A text column.")
    rule: Rule | None = Field(None, description="A function of your own.")
    file: LabelFile | None = Field(None, description="A file of labels.")

    @model_validator(mode="after")
    def _one(self) -> "Labeller":
        if sum(way is not None for way in (self.pattern, self.column, self.rule, self.file)) != 1:
            raise ValueError("a labeller is exactly one of pattern, column, rule, file")
        return self

    def columns(self) -> set[str]:
        """The text columns that it must have."""
        if self.pattern:
            return {self.pattern.column}
        return {self.column.name} if self.column else set()

    def said_name(self) -> str:
        """The recipe's name for it, or one that tells what it is."""
        if self.name:
            return self.name
        if self.pattern:
            return f"pattern:{self.pattern.column}"
        if self.column:
            return f"column:{self.column.name}"
        if self.rule:
            return f"rule:{self.rule.function}"
        assert self.file
        return f"file:{self.file.path.rstrip('/').rpartition('/')[2]}"


def names(labellers: Sequence[Labeller]) -> list[str]:
    """The source of each labeller's votes, each once: a second `pattern:caption` is `pattern:caption 2`."""
    seen: Counter[str] = Counter()
    found = []
    for labeller in labellers:
        name = labeller.said_name()
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found
