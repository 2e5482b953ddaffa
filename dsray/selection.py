"""The recipe's `select`: which rows stay, which are the same, and which split they fall into."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from dsray.collection import Model

Fraction = Annotated[float, Field(ge=0, le=1)]

Rule = tuple[str, str, float | None, float | None]
"""Rule, signal, min, max."""


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
    """The rules that send a row to quarantine; the first that fails is the reason. A kind adds one for each of its
    signals (`drop_of`)."""

    bounds: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Shorthand → its signal, and `min` or `max`."""

    undecodable: Literal[True] = Field(True, description="Payloads that cannot be decoded; always on.")
    opted_out: bool = Field(True, description="Obey opt-out signals (noai, noimageai, TDM reservation).")
    unlabelled: bool = Field(True, description="Rows that no labeller could name.")

    def ranges(self) -> list[Rule]:
        """Every threshold that is set, in order; of a flag that is dropped the largest value is 0."""
        found: list[Rule] = []
        for rule in type(self).model_fields.keys() - Drop.model_fields.keys():
            limit = getattr(self, rule)
            if isinstance(limit, Range):
                found.append((rule, rule, limit.min, limit.max))
            elif limit is True:
                found.append((rule, rule, None, 0.0))
            elif rule in self.bounds and limit is not None:
                signal, side = self.bounds[rule]
                found.append((rule, signal, *((limit, None) if side == "min" else (None, limit))))
        order = list(type(self).model_fields)
        return sorted(found, key=lambda one: order.index(one[0]))


def drop_of(
    bounds: Mapping[str, tuple[str, str, str]], signals: Mapping[str, str], flags: Mapping[str, tuple[str, bool]]
) -> type[Drop]:
    """The rules of a kind: shorthand → (signal, side, meaning), signal → meaning, flag → (meaning, dropped or not)."""
    fields: dict[str, Any] = {name: (bool, Field(on, description=words)) for name, (words, on) in flags.items()}
    fields |= {name: (float | None, Field(None, description=words)) for name, (_, _, words) in bounds.items()}
    fields |= {name: (Range | None, Field(None, description=words)) for name, words in signals.items()}
    made = create_model("Drop", __base__=Drop, **fields)
    made.bounds = {name: (signal, side) for name, (signal, side, _) in bounds.items()}
    return made


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
