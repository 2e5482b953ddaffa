"""Rules on one row: what it must be by itself, once every threshold is a number."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys
from dsray.selection import Rule, Select
from dsray.stages.choose.outliers import Scale, Space, matrix

RESULT = pa.schema([("rule", pa.string()), ("value", pa.string()), ("threshold", pa.string())])

FEATURES = "features"
"""The column of facts that outliers in feature space need."""


@dataclass(frozen=True)
class Judge:
    """All rules of a recipe, with the numbers that quantiles and medians of the data came to."""

    limits: Sequence[Rule] = ()
    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (rule, side) → the quantile behind it
    outliers: Sequence[tuple[str, float, Scale]] = ()  # signal, largest |z|, where it lies
    space: tuple[float, Space, Scale] | None = None  # largest z, features, where distances lie
    unlabelled: bool = False
    agreement: float | None = None

    def words(self) -> dict[str, Any]:
        """As JSON, for keys and manifests."""
        return {
            "limits": [list(limit) for limit in self.limits],
            "shares": sorted([rule, side, share] for (rule, side), share in self.shares.items()),
            "outliers": [[signal, most, vars(scale)] for signal, most, scale in self.outliers],
            "features": None if self.space is None else _told(*self.space),
            "unlabelled": self.unlabelled,
            "agreement": self.agreement,
        }

    def signals(self) -> list[str]:
        """The columns of facts that it looks at."""
        found = [signal for _, signal, _, _ in self.limits] + [signal for signal, _, _ in self.outliers]
        return list(dict.fromkeys(found + ([FEATURES] if self.space else [])))


def judge(select: Select) -> Judge:
    """A recipe's rules that need no look at the data."""
    return Judge(
        select.drop.ranges(),
        {},
        unlabelled=select.drop.unlabelled,
        agreement=select.agreement.min if select.agreement else None,
    )


def failures(raw: pa.Table, facts: pa.Table, labels: pa.Table, judge: Judge) -> pa.Table:
    """[rule, value, threshold] of the first rule that each row fails, null where it passes all."""
    verdict = _Failures(facts.num_rows)
    refused = raw["error"].is_valid().to_numpy()
    verdict.fail(refused, raw["error"], lambda row: _short(raw["evidence"][row].as_py()), "")
    broken = facts["error"]
    verdict.fail(broken.is_valid().to_numpy(), "undecodable", lambda row: broken[row].as_py(), "decodable")
    for rule, signal, low, high in judge.limits:
        _range(verdict, facts[signal], (rule, low, high), judge.shares)
    for signal, most, scale in judge.outliers:
        z_N = scale.z(facts[signal].to_numpy(zero_copy_only=False).astype(np.float64))
        verdict.numbers(np.abs(z_N) > most, f"outlier_{signal}", np.abs(z_N), f"max {most:g} robust z")
    if judge.space:
        most, space, scale = judge.space
        z_N = feature_z(facts[FEATURES], space, scale)
        verdict.numbers(z_N > most, "outlier_features", z_N, f"max {most:g} robust z")
    if judge.unlabelled:
        verdict.fail(labels["label"].is_null().to_numpy(), "unlabelled", lambda row: None, "a label")
    if judge.agreement is not None:
        share_N = labels["agreement"].to_numpy(zero_copy_only=False).astype(np.float64)
        verdict.numbers(share_N < judge.agreement, "conflicting", share_N, f"min {judge.agreement:g}")
    return verdict.table()


def judged(raw: pa.Table, facts: pa.Table) -> pa.ChunkedArray:
    """The rows that quantiles and medians are taken over: those that could be had and decoded."""
    return pc.and_(raw["error"].is_null(), facts["error"].is_null())


def feature_z(column: pa.ChunkedArray, space: Space, scale: Scale) -> np.ndarray[Any, Any]:
    """z of each row's distance; NaN without features."""
    z_N = np.full(len(column), np.nan)
    there = column.is_valid().to_numpy()
    if there.any():
        z_N[there] = scale.z(space.distances(matrix(column.drop_null())))
    return z_N


class _Failures:
    """The first failure of each row."""

    def __init__(self, rows: int) -> None:
        self.columns = [np.full(rows, None, object) for _ in range(3)]

    def fail(self, failed_N: Any, rule: Any, value: Any, threshold: str) -> None:
        """`rule` is a name or a column of names; `value(row)` says what a row has."""
        names, values, thresholds = self.columns
        for row in np.flatnonzero(np.asarray(failed_N, bool) & (names == None)).tolist():  # noqa: E711  # elementwise
            names[row] = rule if isinstance(rule, str) else rule[row].as_py()
            values[row], thresholds[row] = value(row), threshold

    def numbers(self, failed_N: Any, rule: str, value_N: Any, threshold: str) -> None:
        self.fail(failed_N, rule, lambda row: f"{value_N[row]:.6g}", threshold)

    def table(self) -> pa.Table:
        return pa.table([pa.array(column, pa.string()) for column in self.columns], schema=RESULT)


def _range(verdict: _Failures, column: pa.ChunkedArray, limit: tuple[str, float | None, float | None],
           shares: Mapping[tuple[str, str], float]) -> None:  # fmt: skip
    rule, low, high = limit
    if pa.types.is_boolean(column.type):
        verdict.fail(column.fill_null(False).to_numpy(), rule, lambda row: "yes", "no")
        return
    value_N = column.to_numpy(zero_copy_only=False).astype(np.float64)
    with np.errstate(invalid="ignore"):
        for side, bound, failed_N in (("min", low, value_N < (low or 0)), ("max", high, value_N > (high or 0))):
            if bound is not None:
                share = shares.get((rule, side))
                note = "" if share is None else f" (quantile {share:g})"
                verdict.numbers(failed_N, rule, value_N, f"{side} {bound:g}{note}")


def _short(evidence: str | None) -> str | None:
    """The signal and its value; where it was seen stays in the raw row."""
    if evidence is None:
        return None
    found = json.loads(evidence)
    return f"{found.get('signal')}: {found.get('value')}"


def _told(most: float, space: Space, scale: Scale) -> dict[str, Any]:
    made = keys.digest(space.matrix_DD.tobytes() + space.offset_D.tobytes())
    return {"max": most, "space": made, "scale": vars(scale)}
