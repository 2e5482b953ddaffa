"""The recipe's `label`: ways to a label. Each answers for itself; every answer is kept with its source."""

import re

from pydantic import Field, field_validator

from dsray.collection import Model


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


class Labeller(Model):
    """One way to a label; the first that answers wins."""

    pattern: Pattern = Field(description="The first group of a regular expression.")

    def columns(self) -> set[str]:
        """The text columns that it reads."""
        return {self.pattern.column}
