"""Trials: the pieces of evaluation, each done by one task from what lies on the lake."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, models
from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.samples import good
from dsray.stages.train import class_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dsray.metrics.utility import Rows

SUSPECTS = 10
"""Synthetic rows that are shown beside their nearest training rows."""

_OF_ALL = ("features", "fid")
_WALK = (6, 10)  # rows and steps of the interpolations


@dataclass(frozen=True)
class Made:
    """A model, what was drawn of it, and what it drew at each checkpoint."""

    name: str
    architecture: str
    config: dict[str, Any]
    seed: int
    weights: Receipt
    synthetic: list[Receipt]
    checkpoints: list[tuple[int, str]]  # (images seen, name of the object with uint8 [N, H, W, C])


@dataclass(frozen=True)
class Trial:
    """One piece of evaluation; small enough to send."""

    score: str
    seed: int
    store: Store
    kind: str
    classes: list[str]
    real: list[Receipt]
    models: Sequence[Made]  # that it is about: one, all, or none
    scores: Sequence[str]  # that are wanted beside the three
    prefix: str  # of objects that it puts on the lake

    @property
    def model(self) -> str:
        """The one model that it is about; nothing where it is about all, or none."""
        return self.models[0].name if self.models and self.score not in _OF_ALL else ""

    @property
    def about(self) -> str:
        """What a person calls it."""
        return f"{self.score.replace('_', ' ')} {self.model}".strip() + f", seed {self.seed}"

    def split(self, split: str) -> "Rows":
        """The real rows of a split."""
        return rows_of(self.store, self.kind, self.real, split, self.classes)

    def made(self, model: Made) -> "Rows":
        return rows_of(self.store, self.kind, model.synthetic, "train", self.classes)


def attempt(trial: Trial, post: Callable[[str], None]) -> Any:
    """In a worker: one trial, on one thread."""
    import torch

    torch.set_num_threads(1)
    result = ATTEMPTS[trial.score](trial)
    post(trial.about)
    return result


def rows_of(store: Store, kind_name: str, receipts: Sequence[Receipt], split: str, classes: list[str]) -> "Rows":
    """uint8 [N, H, W, C] and class numbers [N] of one split, in the order of ids."""
    columns = ["id", "media", "label", "split", "error"]
    table = pa.concat_tables(good(table) for table in shards.each(store, receipts, columns, ahead=4))
    table = table.filter(pc.equal(table["split"], split)).sort_by("id")
    images = kind(kind_name).to_arrays([media["bytes"] for media in table["media"].to_pylist()])
    return images, class_numbers(table["label"].to_pylist(), classes)


def usefulness(trial: Trial, trained_on: str) -> dict[str, Any]:
    """Which test rows a classifier finds that learned from `real`, `synthetic`, or `both`."""
    from dsray.metrics import utility

    sets = [trial.split("train")] if trained_on != "synthetic" else []
    sets += [trial.made(model) for model in trial.models]
    images, labels = (np.concatenate(both) for both in zip(*sets, strict=True))
    test = trial.split("test")
    found = utility.found(images, labels, *test, max(1, len(trial.classes)), trial.seed)
    return {"found": found, "labels": test[1], "rows": len(labels)}


def features(trial: Trial) -> dict[str, dict[str, Any]]:
    """Model → what the features of one network say of it; with the first seed, all scores that want no more."""
    from dsray.metrics import distance, kid, prdc, sliced

    rows = [trial.made(model)[0] for model in trial.models]
    shown = [[_stored(trial.store, name) for _, name in model.checkpoints] for model in trial.models]
    flat = [*rows, *(images for each in shown for images in each)]
    real, other, spaces = distance.learned_features(
        *trial.split("train"), trial.split("test")[0], flat, max(1, len(trial.classes)), trial.seed
    )
    later = iter(spaces[len(rows) :])
    scores: dict[str, Callable[..., Mapping[str, Any]]] = {"kid": kid.kid, "prdc": prdc.prdc, "sliced": sliced.sliced}
    found = {}
    for model, space in zip(trial.models, spaces, strict=False):
        points = [(images, distance.apart(real, other, next(later))) for images, _ in model.checkpoints]
        found[model.name] = {
            "distance": distance.apart(real, other, space),
            "over_time": [{"images": images, **pair} for images, pair in points],
            **{name: score(real, other, space, distance.EXTRACTOR, seed=trial.seed)
               for name, score in scores.items() if name in trial.scores},
        }  # fmt: skip
    return found


def detection(trial: Trial) -> Mapping[str, Any]:
    from dsray.metrics import detection as metric

    (model,) = trial.models
    return metric.detection(trial.split("test")[0], trial.split("train")[0], trial.made(model)[0], trial.seed)


def copies(trial: Trial) -> dict[str, Any]:
    """The share of copies; the most suspicious rows beside their nearest training rows go to the lake as a sheet."""
    from dsray.metrics import copies as metric
    from dsray.report.grid import grid

    (model,) = trial.models
    train, made = trial.split("train")[0], trial.made(model)[0]
    found = metric.copies(made, train, trial.split("test")[0])
    suspects = metric.suspects(made, train, SUSPECTS)
    pairs = [made[[one["synthetic"] for one in suspects]], train[[one["train"] for one in suspects]]]
    sheet = _put(trial, model, "nearest", grid(np.concatenate(pairs), len(suspects)))
    return {"score": {**found, "trusted": metric.trusted(found)}, "suspects": suspects, "sheet": sheet}


def memorisation(trial: Trial) -> dict[str, Any]:
    from dsray.metrics import memorisation as metric

    (model,) = trial.models
    found = metric.memorisation(trial.made(model)[0], trial.split("train")[0], trial.split("test")[0], trial.seed)
    return {**found, **{name: _with_trust(found[name]) for name in ("c_t", "authenticity", "nearest")}}


def membership(trial: Trial) -> dict[str, Any]:
    """Training rows are the members, test rows the others: one pool, unless `select.split.by` parts them otherwise."""
    from dsray.metrics import membership as metric

    (model,) = trial.models
    found = metric.membership(trial.made(model)[0], trial.split("train")[0], trial.split("test")[0], trial.seed)
    return {name: _with_trust(attack) for name, attack in found.items()}


def _with_trust(score: Any) -> dict[str, Any]:
    from dsray.metrics.controls import trusted

    return {**score, "trusted": trusted(score["controls"])}


def fid(trial: Trial) -> dict[str, Any]:
    """Model → FID; what Inception says of real rows serves all."""
    import torch

    from dsray.metrics import fid as metric
    from dsray.metrics import inception, inception_weights
    from dsray.metrics.resize import CLEAN
    from dsray.metrics.subset import same_size

    net = inception.loaded(inception_weights.load())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = [trial.made(model)[0] for model in trial.models]
    real, other, _ = same_size(trial.split("test")[0], trial.split("train")[0], max(made, key=len), trial.seed)
    real_ND, other_ND = (inception.features(net, rows, CLEAN, device) for rows in (real, other))
    found = {}
    for model, rows in zip(trial.models, made, strict=True):
        mine = same_size(real_ND, other_ND, rows, trial.seed)
        found[model.name] = metric.fid_of_features(*mine[:2], inception.features(net, mine[2], CLEAN, device), CLEAN)
    return found


def walk(trial: Trial) -> Receipt:
    """Latent interpolations as a sheet on the lake: each row goes from one drawn sample to another."""
    import torch
    from safetensors.torch import load

    from dsray.models.walk import walk as interpolated
    from dsray.report.grid import grid

    (model,) = trial.models
    architecture = models.architecture(model.architecture)
    config, weights = architecture.Config(**model.config), load(shards.whole(trial.store, model.weights))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, steps = _WALK
    images = interpolated(architecture, config, weights, max(1, len(trial.classes)), model.seed, device, rows, steps)
    return _put(trial, model, "walk", grid(images.reshape(-1, *images.shape[2:]), steps))


def _put(trial: Trial, model: Made, name: str, png: bytes) -> Receipt:
    """A picture on the lake: whoever comes second finds it there."""
    target = f"{trial.prefix}{model.name}-{name}.png"
    if not trial.store.create(target, png):
        png = trial.store.read(target)
    return Receipt(target, keys.digest(png), 0, len(png), {})


def _stored(store: Store, name: str) -> "NDArray[np.uint8]":
    images: NDArray[np.uint8] = np.load(io.BytesIO(store.read(name)), allow_pickle=False)
    return images


ATTEMPTS: dict[str, Callable[[Trial], Any]] = {
    "train_on_real": partial(usefulness, trained_on="real"),
    "train_on_synthetic": partial(usefulness, trained_on="synthetic"),
    "train_on_both": partial(usefulness, trained_on="both"),
    "features": features,
    "detection": detection,
    "copies": copies,
    "memorisation": memorisation,
    "membership": membership,
    "fid": fid,
    "walk": walk,
}
"""Trial → what does it. The names of scores beside the three are the recipe's."""
