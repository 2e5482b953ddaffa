"""What is different between two versions of a dataset: rows, labels, distributions, quarantine, scores and recipe."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray.changed import Change, changes
from dsray.dataset import Version, version
from dsray.diff.drift import Signal, family, signals
from dsray.diff.fingerprints import Prints, fingerprints, part
from dsray.errors import DsrayError
from dsray.lake import manifests
from dsray.lake.store import Missing, Store
from dsray.schema import SPLITS
from dsray.stages import versions
from dsray.stages.gates import Gate, numbers, told

Both = tuple[Any, Any]
"""A value of the one version and of the other; None where it has none."""

Mask = NDArray[np.bool_]


@dataclass
class Group:
    """The rows of one split and origin. A row that moved is one of `moved_in` there and of `moved_out` where it was."""

    split: str
    origin: str
    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    moved_in: int = 0
    moved_out: int = 0


@dataclass(frozen=True)
class Row:
    """One row that is different. `splits` are before and after; `columns` are those with another value."""

    id: str
    what: str  # added, removed, changed or moved
    origin: str
    splits: Both
    columns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Diff:
    """Two versions compared. Pairs are (before, after)."""

    before: str
    after: str
    groups: list[Group]
    columns: dict[str, int]  # column → rows that have another value there
    moved: list[tuple[str, str, int]]  # from split, to split, rows
    labels: dict[str, Both]  # class → real rows
    relabelled: list[tuple[str | None, str | None, int]]  # from, to, rows
    signals: list[Signal]
    quarantine: dict[str, Both]  # rule → rows
    scores: dict[str, dict[str, Both]]  # model → score → value
    gates: list[Both]  # in words, where another number, limit or outcome came of it
    recipe: list[Change]
    shards: dict[str, int]  # how many are in both, and were not read; how many were
    lacking: list[str]  # what could not be compared, and why
    rows: list[Row]

    @property
    def same_rows(self) -> bool:
        """Whether both versions hold the same rows."""
        return not any((one.added, one.removed, one.changed, one.moved_in) != (0, 0, 0, 0) for one in self.groups)


def pair(store: Store, before: str, after: str | None = None) -> tuple[Version, Version]:
    """The versions to compare: the two that are named, or the one and that before it. Withdrawn ones can be named too.
    Raises DsrayError when there is none before."""
    named = [versions.numbered(store, name) for name in (before, after) if name]
    if len(named) == 1:
        dataset, number = named[0]
        earlier = [one for one in versions.standing(versions.published(store, dataset)) if one < number]
        if not earlier:
            raise DsrayError(
                f"No version stands before {dataset}@v{number}.", "Name two: dsray diff digits@v3 digits@v4."
            )
        named = [(dataset, earlier[-1]), *named]
    first, second = (_there(store, *one) for one in named)
    return first, second


def _there(store: Store, dataset: str, number: int) -> Version:
    """That version. Raises DsrayError when it was withdrawn and its files are gone, which nothing makes again."""
    said = versions.withdrawn(versions.published(store, dataset)[number])
    try:
        found = version(store, dataset, number)
        if not said or all(store.head(receipt.name) for receipt in found.shards()):
            return found
    except Missing:
        if not said:
            raise
    raise DsrayError(f"{dataset}@v{number} was {said}", "Its files are gone: compare versions that stand.")


def compare(before: Version, after: Version, limit: int = 0) -> Diff:
    """Both versions, row by row. Shards that both have are not read. `limit`: how many rows of each sort are listed."""
    both = (before, after)
    known = [{(*part(one, receipt), receipt.digest): receipt for receipt in one.shards()} for one in both]
    shared = known[0].keys() & known[1].keys()
    origins = sorted({origin for of in known for _, origin, _ in of})
    classes = sorted({name for one in both for name in one.manifest["classes"]})
    first, second = (
        fingerprints(one, [receipt for key, receipt in of.items() if key not in shared], origins, classes)
        for one, of in zip(both, known, strict=True)
    )
    rows = _Rows(first, second, origins, classes)
    distributions, gone = _signals(before, after)
    labels, silent = _labels(before, after)
    said = [one.manifest for one in both]
    return Diff(
        name_of(before), name_of(after), rows.groups(said), rows.columns(), rows.moved(), labels, rows.relabelled(),
        distributions, _both(said[0]["quarantine"], said[1]["quarantine"]), _scores(*said), list(_gates(*said)),
        list(changes(said[0]["recipe"], said[1]["recipe"])),
        {"same": len(shared), "read": sum(map(len, known)) - 2 * len(shared)}, [*gone, *silent],
        list(rows.listed(limit)),
    )  # fmt: skip


def name_of(version: Version) -> str:
    """`digits@v3`"""
    return f"{version.dataset}@v{version.number}"


class _Rows:
    """The rows of the shards that are not the same: which are in one only, and what is different in the others."""

    def __init__(self, first: Prints, second: Prints, origins: list[str], classes: list[str]) -> None:
        self.first, self.second, self.origins, self.classes = first, second, origins, classes
        place = pc.index_in(second.ids, value_set=first.ids)
        self.added_N: Mask = place.is_null().to_numpy(zero_copy_only=False)
        self.removed_M: Mask = pc.invert(pc.is_in(first.ids, value_set=second.ids)).to_numpy(zero_copy_only=False)
        self.to_K = np.flatnonzero(~self.added_N)  # of the rows in both: where they are after, and where before
        self.from_K = place.drop_null().to_numpy().astype(np.int64)
        self.differs = dict(self._differing())
        self.changed_K = np.any([np.zeros(len(self.to_K), bool), *self.differs.values()], axis=0)
        self.moved_K = first.split_N[self.from_K] != second.split_N[self.to_K]

    def _differing(self) -> Iterator[tuple[str, Mask]]:
        """Column → which of the rows in both have another value."""
        yield "label", self.first.label_N[self.from_K] != self.second.label_N[self.to_K]
        for name in dict.fromkeys([*self.first.hash_N, *self.second.hash_N]):
            yield name, self.first.of(name)[self.from_K] != self.second.of(name)[self.to_K]

    def groups(self, said: list[dict[str, Any]]) -> list[Group]:
        found: dict[tuple[str, str], Group] = {}
        for name, manifest in zip(("before", "after"), said, strict=True):
            for split, counts in manifest["rows"].items():
                for origin, rows in counts.items():
                    setattr(found.setdefault((split, origin), Group(split, origin)), name, rows)
        sorts = {
            "added": (self.second, np.flatnonzero(self.added_N)),
            "removed": (self.first, np.flatnonzero(self.removed_M)),
            "changed": (self.second, self.to_K[self.changed_K]),
            "moved_in": (self.second, self.to_K[self.moved_K]), "moved_out": (self.first, self.from_K[self.moved_K]),
        }  # fmt: skip
        for name, (prints, at) in sorts.items():
            counted = Counter(zip(prints.split_N[at].tolist(), prints.origin_N[at].tolist(), strict=True))
            for (split, origin), rows in counted.items():
                setattr(found[SPLITS[split], self.origins[origin]], name, rows)
        order = {"real": 0, "augmented": 1}
        return sorted(found.values(), key=lambda one: (SPLITS.index(one.split), order.get(one.origin, 2), one.origin))

    def columns(self) -> dict[str, int]:
        counts = {name: int(differs_K.sum()) for name, differs_K in self.differs.items()}
        return {name: rows for name, rows in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if rows}

    def moved(self) -> list[tuple[str, str, int]]:
        ways = Counter(zip(self.first.split_N[self.from_K[self.moved_K]].tolist(),
                           self.second.split_N[self.to_K[self.moved_K]].tolist(), strict=True))  # fmt: skip
        return [(SPLITS[before], SPLITS[after], rows) for (before, after), rows in sorted(ways.items())]

    def relabelled(self) -> list[tuple[str | None, str | None, int]]:
        other_K = self.differs["label"]
        ways = Counter(zip(self.first.label_N[self.from_K[other_K]].tolist(),
                           self.second.label_N[self.to_K[other_K]].tolist(), strict=True))  # fmt: skip
        names = [*self.classes, None]  # -1 is the last
        return [(names[before], names[after], rows) for (before, after), rows in ways.most_common()]

    def listed(self, limit: int) -> Iterator[Row]:
        """The first rows of each sort, by id."""
        for at in _first(self.second.ids, np.flatnonzero(self.added_N), limit):
            yield self._row("added", None, at)
        for at in _first(self.first.ids, np.flatnonzero(self.removed_M), limit):
            yield self._row("removed", at, None)
        ids = self.second.ids.take(pa.array(self.to_K))
        for what, mask_K in (("changed", self.changed_K), ("moved", self.moved_K)):
            for k in _first(ids, np.flatnonzero(mask_K), limit):
                columns = [name for name, differs_K in self.differs.items() if differs_K[k]]
                yield self._row(what, int(self.from_K[k]), int(self.to_K[k]), columns)

    def _row(self, what: str, before: int | None, after: int | None, columns: Sequence[str] = ()) -> Row:
        both = [(self.first, before), (self.second, after)]
        splits = [None if at is None else SPLITS[prints.split_N[at]] for prints, at in both]
        prints, at = next(one for one in reversed(both) if one[1] is not None)
        return Row(prints.ids[at].as_py(), what, self.origins[prints.origin_N[at]], (splits[0], splits[1]), [*columns])


def _first(ids: pa.Array, at: NDArray[np.int64], limit: int) -> list[int]:
    """Of the places `at` those of the smallest ids."""
    if not limit:
        return []
    order = pc.sort_indices(ids.take(pa.array(at)))[:limit].to_numpy()
    return [int(one) for one in at[order]]


def _signals(before: Version, after: Version) -> tuple[list[Signal], list[str]]:
    """The signals of both; and whose facts are gone."""
    names = [name_of(one) for one in (before, after)]
    facts, others = family(before), family(after)
    gone = [name for name, one in zip(names, (facts, others), strict=True) if one is None]
    if facts and others:
        try:
            return signals(before, after, (facts, others)), []
        except Missing:
            gone = names
    return [], [f"The facts behind {name} are no longer on the lake: no distributions." for name in gone]


def _labels(before: Version, after: Version) -> tuple[dict[str, Both], list[str]]:
    """Class → real rows of both, from what `select` counted; and whose counts are gone."""
    counts, gone = [], []
    for one in (before, after):
        found = manifests.find(one.store, "select", one.manifest["stages"]["select"]["key"])
        if found is None:
            gone.append(f"The verdicts behind {name_of(one)} are no longer on the lake: no labels.")
        else:
            counts.append({label: sum(splits.values()) for label, splits in found.details["classes"].items()})
    return ({}, gone) if gone else (_both(*counts), [])


def _both(before: Mapping[str, Any], after: Mapping[str, Any], absent: Any = 0) -> dict[str, Both]:
    """Name → both values, the same ones too."""
    return {name: (before.get(name, absent), after.get(name, absent)) for name in sorted({*before, *after})}


def _scores(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, Both]]:
    """Every number that a gate could be set for."""
    both = [{model: numbers(score) for model, score in said["scores"].items()} for said in (before, after)]
    models = sorted({*both[0], *both[1]})
    return {model: _both(both[0].get(model, {}), both[1].get(model, {}), None) for model in models}


def _gates(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Both]:
    both: list[dict[tuple[str, str], str]] = [
        {(gate["model"], gate["gate"]): _judged(gate) for gate in said["gates"]} for said in (before, after)
    ]
    for name in sorted({*both[0], *both[1]}):
        if both[0].get(name) != both[1].get(name):
            yield both[0].get(name), both[1].get(name)


def _judged(gate: Gate) -> str:
    return f"{'passed' if gate['passed'] else 'failed'}: {told(gate)}"
