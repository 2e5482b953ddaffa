"""What thresholds that speak of all rows come to: exact quantiles, medians, and the space of features.

A signal's values meet in one task, 8 bytes a row and sorted there: good for some 10^9 rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dsray.engine.exchange import Exchange, Input, plain
from dsray.errors import RecipeError
from dsray.selection import Select
from dsray.stages.choose.outliers import F64, Scale, Space, matrix, moments, scale, space
from dsray.stages.choose.rules import FEATURES, Judge

Facts = Callable[..., pa.Table]
"""Facts of the rows that count, of one input and with the columns asked for: `facts(*input, columns=[...])`."""

_VALUES = pa.schema([("signal", pa.int64()), ("value", pa.float64())])
_FOUND = pa.schema([("signal", pa.int64()), ("what", pa.string()), ("value", pa.float64())])
_MOMENTS = pa.schema([("key", pa.int64()), ("rows", pa.int64()), ("sum", pa.binary()), ("product", pa.binary())])


def settle(judge: Judge, select: Select, exchange: Exchange, inputs: Sequence[Input], facts: Facts) -> Judge:
    """The judge with every threshold a number."""
    outliers = select.outliers
    quantiles, far = select.drop.quantiles(), dict(outliers.signals) if outliers else {}
    if quantiles or far:
        asked: dict[str, list[float]] = {signal: [] for signal in [*(signal for _, signal, _, _ in quantiles), *far]}
        for _, signal, _, share in quantiles:
            asked[signal].append(share)
        found = _describe(exchange, inputs, partial(_values, facts=facts, signals=list(asked)), list(asked.values()))
        of = dict(zip(asked, found, strict=True))
        limits = {
            (rule, side): of[signal][f"{share!r}"]
            for rule, signal, side, share in quantiles if f"{share!r}" in of[signal]
        }  # fmt: skip
        judge = replace(
            judge,
            limits=select.drop.ranges(limits),
            shares={(rule, side): share for rule, _, side, share in quantiles},
            outliers=[(signal, most, _scale(of[signal])) for signal, most in far.items()],
        )
    if outliers and outliers.features is not None:
        inner = _space(exchange, inputs, facts)
        if inner is not None:
            (found_one,) = _describe(exchange, inputs, partial(_distances, facts=facts, inner=inner), [[]], False)
            judge = replace(judge, space=(outliers.features, inner, _scale(found_one)))
    return judge


def describe(value_N: F64, shares: Sequence[float], logarithmic: bool | None = None) -> dict[str, float]:
    """Quantiles by their share (linear between neighbours), and the scale."""
    value_N = value_N[np.isfinite(value_N)]
    if not len(value_N):
        return {"centre": 0.0, "spread": 0.0}
    found = {f"{share!r}": float(np.quantile(value_N, share)) for share in shares}
    lies = scale(value_N, logarithmic)
    floor = {} if lies.floor is None else {"floor": lies.floor}
    return found | {"centre": lies.centre, "spread": lies.spread} | floor


def _describe(
    exchange: Exchange, inputs: Sequence[Input], load: Facts, shares: list[list[float]], logarithmic: bool | None = None
) -> list[dict[str, float]]:
    """Of each signal (by its number) what `describe` says."""
    told = partial(_described, shares=shares, logarithmic=logarithmic)
    handles = exchange.round(inputs, load, "signal", told, len(shares), of=plain)
    found: list[dict[str, float]] = [describe(np.zeros(0), asked) for asked in shares]
    for row in pa.concat_tables(exchange.fetch(handles)).to_pylist():
        found[row["signal"]][row["what"]] = row["value"]
    return found


def _described(met: pa.Table, shares: list[list[float]], logarithmic: bool | None) -> pa.Table:
    signal_N, value_N = met["signal"].to_numpy(), met["value"].to_numpy()
    rows = []
    for signal in np.unique(signal_N).tolist():
        told = describe(value_N[signal_N == signal], shares[signal], logarithmic)
        rows += [{"signal": signal, "what": what, "value": value} for what, value in told.items()]
    return pa.Table.from_pylist(rows, schema=_FOUND)


def _scale(found: Mapping[str, float]) -> Scale:
    return Scale(found["centre"], found["spread"], found.get("floor"))


def _values(*arguments: Any, facts: Facts, signals: list[str]) -> pa.Table:
    table = facts(*arguments, columns=signals)
    return pa.concat_tables([_numbered(number, table[signal].drop_null()) for number, signal in enumerate(signals)])


def _numbered(number: int, values: pa.ChunkedArray) -> pa.Table:
    return pa.table([np.full(len(values), number), values.cast(pa.float64())], schema=_VALUES)


def _distances(*arguments: Any, facts: Facts, inner: Space) -> pa.Table:
    column = facts(*arguments, columns=[FEATURES])[FEATURES].drop_null()
    distance_N = inner.distances(matrix(column)) if len(column) else np.zeros(0)
    return _numbered(0, pa.chunked_array([pa.array(distance_N)]))


def _space(exchange: Exchange, inputs: Sequence[Input], facts: Facts) -> Space | None:
    """From moments that meet in one task; None without a row that has features."""
    handles = exchange.round(inputs, partial(_moments, facts=facts), "key", _summed, 1)
    (row,) = exchange.fetch(handles)[0].to_pylist() or [None]
    if row is None:
        return None
    sum_D = np.frombuffer(row["sum"], np.int64)
    return space(row["rows"], sum_D, np.frombuffer(row["product"], np.int64).reshape(len(sum_D), -1))


def _moments(*arguments: Any, facts: Facts) -> pa.Table:
    column = facts(*arguments, columns=[FEATURES])[FEATURES].drop_null()
    if not len(column):
        return _MOMENTS.empty_table()
    rows, sum_D, product_DD = moments(matrix(column))
    return pa.table([[0], [rows], [sum_D.tobytes()], [product_DD.tobytes()]], schema=_MOMENTS)


def _summed(met: pa.Table) -> pa.Table:
    if not met.num_rows:
        return met
    if len({len(row) for row in met["sum"].to_pylist()}) > 1:
        raise RecipeError("Features of different lengths cannot be compared.", "Measure all rows with one kind.")
    sums, products = (
        np.sum([np.frombuffer(part, np.int64) for part in met[name].to_pylist()], axis=0) for name in ("sum", "product")
    )
    rows = sum(met["rows"].to_pylist())
    return pa.table([[0], [rows], [sums.tobytes()], [products.tobytes()]], schema=_MOMENTS)
