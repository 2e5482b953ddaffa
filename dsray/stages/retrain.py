"""Whether a model is trained again when its training rows changed, and from where: what the recipe says of the model
that stands.

The model that stands is the last build's. A step that keeps it has its key, so that its manifest is found and all that
follows is as it was. What a model learned from lies beside it, so that rows can be compared when their shards are gone:

models/<key>/rows.parquet   the training rows: id (which names the payload's bytes), label, digest of the sample shard
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys
from dsray.lake import manifests, shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.samples import good
from dsray.stages.step import Made, Step, digests
from dsray.synthesis import Changed, Synthesis

LEARNED = pa.schema([("id", pa.string()), ("label", pa.string()), ("shard", pa.string())])

_TAINTED = "from nothing, since the model before learned from forgotten rows"

_PARENT = "parent"
"""The parameter that names the model whose networks a training began with."""


@dataclass(frozen=True)
class Standing:
    """The steps of the last build: name → key; the lake that they are on, and the models that learned from rows which
    were forgotten, as orders name them."""

    store: Store
    steps: Mapping[str, str]
    forgotten: frozenset[str] = frozenset()

    def model(self, step: Step) -> Manifest | None:
        """The model that stands for the step, if it says what it learned from."""
        key = self.steps.get(step.name)
        found = manifests.find(self.store, step.stage, key) if key else None
        return found if found and "learned" in found.details else None

    def tainted(self, model: Manifest) -> bool:
        """Whether it learned from forgotten rows, or began with the networks of one that did."""
        return bool(self.forgotten.intersection([model.key, parent(model.params) or "", *digests(model)]))


@dataclass(frozen=True)
class Change:
    """How many of all training rows, then and now, are not the same."""

    differ: int
    rows: int

    @property
    def share(self) -> float:
        return self.differ / max(1, self.rows)

    def words(self) -> str:
        return f"{self.differ:,} of {self.rows:,} training rows changed ({_percent(self.share)})"


def decided(fresh: Step, wanted: Synthesis, made: Made, standing: Standing | None) -> Step:
    """The step of the model that stands, or one that trains: from the beginning, or with `warm` from that model.

    Another architecture, preset, seed or set of classes, and another form of samples, always train from the beginning.
    So does one whose model learned from forgotten rows; where the policy keeps that, the release is refused.
    """
    if standing is None or (wanted.retrain == "always" and not wanted.warm):
        return fresh
    model = standing.model(fresh)
    if model is None or not _alike(model, fresh, made):
        return fresh
    tainted = standing.tainted(model)
    if tainted and wanted.retrain == "always":
        return replace(fresh, note=_TAINTED)
    kept = Step(fresh.name, fresh.stage, model.version, model.params, model.inputs)
    if sorted(model.inputs) == sorted(fresh.inputs):
        return kept
    change = changed(model, made, standing.store)
    if not change.differ:
        return replace(kept, note="kept: its training rows are the same")
    if wanted.retrain == "never":
        return replace(kept, note=f"kept: {change.words()}, the policy never retrains")
    if isinstance(wanted.retrain, Changed):
        limit = f"the policy retrains above {_percent(wanted.retrain.changed)}"
        if change.share <= wanted.retrain.changed:
            return replace(kept, note=f"kept: {change.words()}, {limit}")
    if tainted:
        return replace(fresh, note=f"{change.words()}, {_TAINTED}")
    if wanted.warm:
        return replace(fresh, params={**fresh.params, _PARENT: model.key}, note=change.words())
    return replace(fresh, note=change.words())


def parent(params: Mapping[str, Any]) -> str | None:
    """The key of the model from whose networks one was trained on; None where it began from nothing."""
    return params.get(_PARENT)


def learned(key: str, made: Made, store: Store) -> dict[str, Any]:
    """Writes down the rows that a model learns from; for its manifest."""
    rows = training_rows(store, made["gather"].shards)
    receipt = shards.write(store, f"models/{key}/rows.parquet", rows.sort_by("id"))
    return {"rows": asdict(receipt), "form": _form(made)}


def training_rows(store: Store, samples: Iterable[Receipt]) -> pa.Table:
    """The training rows of sample shards, by LEARNED."""

    def of(receipt: Receipt) -> pa.Table:
        table = good(shards.read(store, receipt, ["id", "label", "split", "error"]))
        rows = table.filter(pc.equal(table["split"], "train"))
        shard = pa.array([receipt.digest] * rows.num_rows, pa.string())
        return pa.table([rows["id"], rows["label"], shard], schema=LEARNED)

    with ThreadPoolExecutor(16) as pool:
        return pa.concat_tables([LEARNED.empty_table(), *pool.map(of, samples)])


def changed(model: Manifest, made: Made, store: Store) -> Change:
    """How other the training rows are now. Sample shards that are the same on both sides are not read."""
    now = {receipt.digest: receipt for receipt in made["gather"].shards}
    before = shards.read(store, Receipt(**model.details["learned"]["rows"]))
    same = pc.is_in(before["shard"], pa.array(sorted(now.keys() & set(model.inputs)), pa.string()))
    was = _labels(before.filter(pc.invert(same)))
    new = _labels(training_rows(store, [now[digest] for digest in now.keys() - set(model.inputs)]))
    rows = was.keys() | new.keys()
    differ = sum(was.get(row, ...) != new.get(row, ...) for row in rows)
    return Change(differ, before.num_rows - len(was) + len(rows))


def told(model: Manifest, made: Made, store: Store) -> dict[str, Any]:
    """What a release's manifest says of what a model learned from: how many rows are not the release's own, and with
    which model's networks it began."""
    same = sorted(model.inputs) == sorted(digests(made["gather"]))
    change = Change(0, 0) if same else changed(model, made, store)
    others = {"other_rows": change.differ, "of_rows": change.rows} if change.differ else {"other_rows": 0}
    begun = parent(model.params)
    return {"model": model.key, **others, **({"warm_from": begun} if begun else {})}


def words(name: str, said: Mapping[str, Any]) -> list[str]:
    """The same for a person; nothing where a model was trained on the release's rows, and from nothing."""
    found = []
    if said["other_rows"]:
        change = Change(said["other_rows"], said["of_rows"])
        found.append(
            f"{name} learned from the rows of an earlier build: {change.differ:,} of {change.rows:,} training rows "
            f"({_percent(change.share)}) are not the same in this release. The scores are measured on this release."
        )
    if begun := said.get("warm_from"):
        found.append(f"The training of {name} began with the networks of model {begun[:12]}, so with its rows too.")
    return found


def _alike(model: Manifest, fresh: Step, made: Made) -> bool:
    params = {name: value for name, value in model.params.items() if name != _PARENT}
    same_code = (model.version, params) == (fresh.version, fresh.params)
    return same_code and model.details["learned"]["form"] == _form(made)


def _form(made: Made) -> str:
    """What, beside its payload, makes a sample's media."""
    render = made["render"]
    return keys.key(render.stage, render.version, render.params, [])


def _labels(rows: pa.Table) -> dict[str, str | None]:
    return dict(zip(rows["id"].to_pylist(), rows["label"].to_pylist(), strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
