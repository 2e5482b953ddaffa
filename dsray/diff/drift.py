"""How far the distributions of the kept rows' signals moved between two versions, from facts and verdicts."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dsray.dataset import Version
from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest

QUANTILES = (0.05, 0.5, 0.95)

_MOST_ROWS = 1_000_000
_THREADS = 8

Family = tuple[Manifest, Manifest]
"""Facts and verdicts: the same shards in the same order."""

Values = dict[str, NDArray[np.float64]]
"""Signal → its values, sorted."""


@dataclass(frozen=True)
class Numbers:
    """One signal of one version's kept rows."""

    rows: int
    mean: float
    quantiles: list[float]  # QUANTILES


@dataclass(frozen=True)
class Signal:
    """One signal of both. `ks` is the Kolmogorov-Smirnov distance, the largest gap between the two cumulative
    distributions: 0 where they are the same, 1 where they have nothing in common."""

    name: str
    before: Numbers
    after: Numbers
    ks: float


def family(version: Version) -> Family | None:
    """The facts and verdicts that a version was made of; None when they are no longer on the lake."""
    stages = version.manifest["stages"]
    found = [manifests.find(version.store, name, stages[name]["key"]) for name in ("measure", "select")]
    facts, verdicts = found
    return (facts, verdicts) if facts and verdicts else None


def signals(before: Version, after: Version, families: tuple[Family, Family]) -> list[Signal]:
    """Every number that `measure` took of both, those that moved most first. Of more than a million rows some shards
    are read; which, their digests say, so that shards that both versions have are in both or in neither."""
    if _digests(families[0]) == _digests(families[1]):
        return []
    every = max(1, *(math.ceil(facts.counts["kept"] / _MOST_ROWS) for facts, _ in families))
    first, second = (_values(one, family, every) for one, family in zip((before, after), families, strict=True))
    both = [name for name in first if name in second and len(first[name]) and len(second[name])]
    found = [Signal(name, _numbers(first[name]), _numbers(second[name]), ks(first[name], second[name]))
             for name in both]  # fmt: skip
    return sorted(found, key=lambda one: (-one.ks, one.name))


def ks(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The two-sample Kolmogorov-Smirnov statistic of sorted values."""
    pooled = np.concatenate([first, second])
    shares = [np.searchsorted(one, pooled, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _digests(family: Family) -> list[list[str]]:
    return [[receipt.digest for receipt in manifest.shards] for manifest in family]


def _values(version: Version, family: Family, every: int) -> Values:
    pairs = [(fact, verdict) for fact, verdict in zip(*(one.shards for one in family), strict=True)
             if int(fact.digest[:8], 16) % every == 0]  # fmt: skip
    if not pairs:
        return {}
    columns = [one.name for one in shards.schema_of(version.store, pairs[0][0]) if pa.types.is_floating(one.type)]

    def kept(place: int) -> pa.Table:
        fact, verdict = pairs[place]
        return shards.read(version.store, fact, columns).filter(shards.read(version.store, verdict, ["kept"])["kept"])

    with ThreadPoolExecutor(_THREADS) as pool:
        table = pa.concat_tables(pool.map(kept, range(len(pairs))))
    return dict(_sorted(table))


def _sorted(table: pa.Table) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for name in table.column_names:
        values = table[name].drop_null().to_numpy()
        yield name, np.sort(values[np.isfinite(values)])


def _numbers(values: NDArray[np.float64]) -> Numbers:
    return Numbers(len(values), float(values.mean()), [float(one) for one in np.quantile(values, QUANTILES)])
