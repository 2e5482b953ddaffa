"""The recipe's `select`: which rows stay, which are the same, and which split they fall into."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from dsray.collection import Model

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

Rule = tuple[str, str, float | None, float | None]
"""Rule, signal, min, max."""

Quantile = tuple[str, str, str, float]
"""Rule, signal, `min` or `max`, share of the rows."""


class Range(Model):
    """Rows outside [min, max] are dropped; a quantile says where that is by a share of the rows."""

    min: float | None = Field(None, description="The smallest value that stays.")
    max: float | None = Field(None, description="The largest value that stays.")
    min_quantile: Fraction | None = Field(None, description="Drops this share of the decodable rows, the lowest: 0.02.")
    max_quantile: Fraction | None = Field(None, description="Drops the rows above this quantile, the highest: 0.98.")

    @model_validator(mode="after")
    def _some(self) -> "Range":
        if not self.model_fields_set or self == Range.model_construct():
            raise ValueError("needs `min`, `max` or both, or a quantile in their place")
        for side in ("min", "max"):
            if getattr(self, side) is not None and getattr(self, f"{side}_quantile") is not None:
                raise ValueError(f"has `{side}` and `{side}_quantile`: one of them says it")
        return self


class Drop(Model):
    """The rules that send a row to quarantine; the first that fails is the reason. A kind adds one for each of its
    signals (`drop_of`)."""

    bounds: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Shorthand → its signal, and `min` or `max`."""

    undecodable: Literal[True] = Field(True, description="Payloads that cannot be decoded; always on.")
    opted_out: bool = Field(True, description="Obey opt-out signals (noai, noimageai, TDM reservation).")
    unlabelled: bool = Field(True, description="Rows that no labeller could name.")

    def ranges(self, found: Mapping[tuple[str, str], float] = {}) -> list[Rule]:
        """Every threshold that is set, in order, and those `found` for (rule, side) from quantiles; of a flag that is
        dropped the largest value is 0."""
        rules: list[Rule] = []
        for rule in self._ordered():
            limit = getattr(self, rule)
            if isinstance(limit, Range):
                low, high = (found.get((rule, side), getattr(limit, side)) for side in ("min", "max"))
                if low is not None or high is not None:
                    rules.append((rule, rule, low, high))
            elif limit is True:
                rules.append((rule, rule, None, 0.0))
            elif rule in self.bounds and limit is not None:
                signal, side = self.bounds[rule]
                rules.append((rule, signal, *((limit, None) if side == "min" else (None, limit))))
        return rules

    def quantiles(self) -> list[Quantile]:
        """Every threshold that is a share of the rows, in order."""
        limits = [(rule, getattr(self, rule)) for rule in self._ordered()]
        return [
            (rule, rule, side, share)
            for rule, limit in limits if isinstance(limit, Range)
            for side in ("min", "max") if (share := getattr(limit, f"{side}_quantile")) is not None
        ]  # fmt: skip

    def _ordered(self) -> list[str]:
        return [rule for rule in type(self).model_fields if rule not in Drop.model_fields]


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


class Outliers(Model):
    """Rows far from the others, in units of the robust z-score: distance from the median over 1.4826 of the median
    distance, which is one standard deviation where values are normal."""

    signals: dict[str, Positive] = Field(
        {},
        description="Signal → the largest z, up or down, that stays; the scale of a signal that is positive and skewed "
        "to the right is logarithmic.",
    )
    features: Positive | None = Field(None, description="The largest z of a row's Mahalanobis distance from the mean "
                                      "of the kind's features.")  # fmt: skip


class Agreement(Model):
    """Rows whose labellers contradict each other."""

    min: Fraction = Field(description="The smallest share of a row's votes that must be for its label.")


class Duplicates(Model):
    """Of each group of duplicates the best row stays."""

    exact: bool = Field(True, description="Same bytes.")
    radius: int | None = Field(None, ge=0, le=16, description="Near-duplicates: bits of 64 that may differ.")
    orientations: bool = Field(False, description="Near-duplicates also when turned or mirrored: 8 orientations.")
    keep: str | None = Field(None, description="The signal whose largest value stays; default: the kind's own.")


class Cap(Model):
    """At most so many rows, of those that pass all else. Which stay is drawn by row, so rows that are added displace
    few. In this order: host, source, label."""

    host: int | None = Field(None, ge=1, description="Rows of one host of `url`.")
    source: int | None = Field(None, ge=1, description="Rows of one source.")
    label: int | None = Field(None, ge=1, description="Rows of one class.")


class Balance(Model):
    """Classes of like size, by dropping rows of the large ones."""

    ratio: float = Field(ge=1, description="Rows of the largest class for one of the smallest.")


class Weights(Model):
    """How often a training row should be drawn: a number for each, 1 on average."""

    power: Fraction = Field(0.5, description="A class weighs its rows to the power of minus this: 1 draws all classes "
                            "alike, 0 all rows.")  # fmt: skip


class Split(Model):
    """Shares of the splits. A cluster of duplicates is never torn apart."""

    train: Fraction = Field(0.8, description="Rows to learn from; augmented and synthetic rows join them.")
    validation: Fraction = Field(0.1, description="Rows to choose by.")
    test: Fraction = Field(0.1, description="Rows to judge by; evaluate uses them.")
    by: str = Field("cluster", description="Rows alike in this stay together: cluster, page, host, source, a text "
                    "column or a signal; groups that share duplicates count as one.")  # fmt: skip
    stratify: bool = Field(False, description="The shares hold in each class, up to one group; rows that are "
                           "added then move a few others (docs/select.md).")  # fmt: skip

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, not 1")
        return self


class Select(Model):
    drop: Drop = Field(Drop(), description="Rules that quarantine a row by itself.")
    outliers: Outliers | None = Field(None, description="Rules that quarantine a row that is far from the others.")
    agreement: Agreement | None = Field(None, description="A rule on labellers that contradict each other.")
    duplicates: Duplicates = Field(Duplicates(), description="Which rows are the same.")
    cap: Cap | None = Field(None, description="Most rows of a class, host or source.")
    balance: Balance | None = Field(None, description="How unequal classes may be.")
    weights: Weights | None = Field(None, description="How often a training row should be drawn; without it no row has "
                                    "a weight.")  # fmt: skip
    split: Split = Field(Split(), description="Shares of train, validation, test.")
