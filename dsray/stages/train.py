"""training samples → a model: Ray Train runs the loop, checkpoints lie on the lake, a killed run resumes from the last.

models/<key>/model.safetensors   what sampling needs
models/<key>/checkpoints/        <step>.safetensors while training (the last two stay), <step>.json with the curve,
                                 <step>.png with a sample grid
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, models
from dsray.errors import DsrayError
from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.models import quota
from dsray.recipe import Recipe, Synthesis
from dsray.stages.samples import good
from dsray.stages.step import Made, Step, Work, digests

if TYPE_CHECKING:
    from torch import Tensor

    from dsray.engine.training import Worker

VERSION = 2

_KEPT_CHECKPOINTS = 2
_GRID_ROWS = 6


@dataclass(frozen=True)
class Training:
    """What a training worker must know; small enough to send."""

    store: Store
    kind: str
    architecture: str
    config: dict[str, Any]
    samples: list[Receipt]
    classes: list[str]
    seed: int
    key: str
    grid: bool = True


def step(recipe: Recipe, made: Made, name: str) -> Step:
    """The number of workers is no parameter: it does not change what is made, but for the order of sums."""
    wanted = synthesis(recipe, name)
    architecture, config = models.preset(name, wanted.preset)
    quota.counts(name, wanted.classes, class_names(made))  # an unknown label is told before hours of training
    params = {
        "architecture": architecture,
        "config": config,
        "seed": seed_of(recipe, wanted),
        "classes": class_names(made),
    }
    return Step(f"train {name}", "train", VERSION, params, digests(made["gather"]))


def synthesis(recipe: Recipe, name: str) -> Synthesis:
    return recipe.synthesize[name]  # type: ignore[index]  # the caller took the name from there


def seed_of(recipe: Recipe, wanted: Synthesis) -> int:
    return recipe.seed if wanted.seed is None else wanted.seed


def class_names(made: Made) -> list[str]:
    """The labels of the kept rows, sorted; a row's class is its label's place here."""
    return [label for label in made["select"].details["classes"] if label != "None"]


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import connect, training

    name = step.name.removeprefix("train ")
    wanted = synthesis(work.recipe, name)
    job = Training(
        work.store, work.recipe.kind, step.params["architecture"], step.params["config"], made["gather"].shards,
        step.params["classes"], step.params["seed"], step.key,
    )  # fmt: skip
    gpus = connect.gpus()
    workers = min(wanted.workers, gpus or connect.cpus())

    def hear(news: dict[str, Any]) -> None:
        losses = " ".join(
            f"{k} {v:.3g}" for k, v in news.items() if k not in ("step", "images", "images_per_s", "steps")
        )
        work.progress.show(int(news["step"]), int(news["steps"]), f"{news['images_per_s']:.0f} images/s  {losses}")

    training.train(_Loop(job), name=f"{name}-{step.key[:12]}", workers=workers, gpu=gpus > 0, hear=hear)
    head = work.store.head(_model_name(step.key))
    if head is None:
        raise DsrayError(f"Training {name} ended without a model.", "Run again to go on from its last checkpoint.")
    data = work.store.read(_model_name(step.key))
    receipt = Receipt(_model_name(step.key), keys.digest(data), 0, len(data), {})
    details = {"curve": curve(work.store, step.key), "grids": grids(work.store, step.key), "workers": workers}
    return step.manifest([receipt], {}, details)


@dataclass(frozen=True)
class _Loop:
    job: Training

    def __call__(self, worker: "Worker") -> None:
        loop(self.job, worker)


def loop(job: Training, worker: "Worker") -> None:
    """What runs on every training worker: load, resume, train, write the model (rank 0)."""
    from dsray.models import draw
    from dsray.models import loop as steps

    images_NHWC, labels_N = arrays(job)
    architecture = models.architecture(job.architecture)
    config = architecture.Config(**job.config)
    training = architecture.start(config, images_NHWC, labels_N, max(1, len(job.classes)), job.seed, worker.device)
    saved = resume(job)
    points: list[dict[str, float]] = curve(job.store, job.key, saved[0]) if saved else []

    def report(metrics: dict[str, float]) -> None:
        if worker.rank == 0:
            points.append(metrics)
            worker.post({**metrics, "steps": training.steps})

    def save(number: int, state: Mapping[str, "Tensor"]) -> None:
        if worker.rank == 0:
            weights, request = training.weights(), _grid_request(job)
            images = draw.sample(architecture, config, weights, *request, job.seed, worker.device)
            checkpoint(job, number, state, points, images)

    weights = steps.train(
        training, rank=worker.rank, world=worker.world, reduce=worker.reduce, saved=saved, save=save, report=report
    )
    if worker.rank == 0:
        job.store.create(_model_name(job.key), _bytes(weights))


def arrays(job: Training) -> tuple[Any, Any]:
    """The training rows as uint8 [N, H, W, C] and class numbers [N], in the order of their ids."""
    columns = ["id", "media", "label", "split", "error"]
    table = pa.concat_tables(good(shards.read(job.store, receipt, columns)) for receipt in job.samples)
    table = table.filter(pc.equal(table["split"], "train")).sort_by("id")
    if not table.num_rows:
        raise DsrayError(
            "There are no training rows to learn from.", "Loosen `select` or give `select.split` a larger train."
        )
    images = kind(job.kind).to_arrays([media["bytes"] for media in table["media"].to_pylist()])
    return images, class_numbers(table["label"].to_pylist(), job.classes)


def class_numbers(labels: list[str | None], classes: list[str]) -> Any:
    """Labels → int64 [N]: the place in `classes`; rows without a label are class 0 of 1."""
    place = {label: number for number, label in enumerate(classes)}
    return np.array([place.get(label or "", 0) for label in labels], np.int64)


def checkpoint(
    job: Training, number: int, state: Mapping[str, "Tensor"], points: list[dict[str, float]], images: Any
) -> None:
    """Grid and curve first, the state last: a state that can be read has all that belongs to it."""
    from dsray.report.grid import grid

    prefix = f"{_checkpoints(job.key)}{number:09d}"
    if job.grid:
        job.store.create(f"{prefix}.png", grid(images, columns=max(1, len(job.classes))))
    job.store.create(f"{prefix}.json", json.dumps(points).encode())
    job.store.create(f"{prefix}.safetensors", _bytes(state))
    old = [e.name for e in job.store.list(_checkpoints(job.key)) if e.name.endswith(".safetensors")][
        :-_KEPT_CHECKPOINTS
    ]
    for name in old:
        job.store.delete(name)


def resume(job: Training) -> "tuple[int, dict[str, Tensor]] | None":
    """The last checkpoint, if there is one."""
    from safetensors.torch import load

    names = [entry.name for entry in job.store.list(_checkpoints(job.key)) if entry.name.endswith(".safetensors")]
    if not names:
        return None
    return _number(names[-1]), load(job.store.read(names[-1]))


def curve(store: Store, key: str, step: int | None = None) -> list[dict[str, float]]:
    """The training curve as the checkpoint at `step`, or the last one, has it."""
    names = [entry.name for entry in store.list(_checkpoints(key)) if entry.name.endswith(".json")]
    names = [name for name in names if step is None or _number(name) == step]
    return json.loads(store.read(names[-1])) if names else []


def grids(store: Store, key: str) -> list[dict[str, Any]]:
    """The sample grids of a model, in the order of training."""
    return [{"step": _number(e.name), "name": e.name} for e in store.list(_checkpoints(key)) if e.name.endswith(".png")]


def _grid_request(job: Training) -> tuple[Any, Any]:
    classes = max(1, len(job.classes))
    count = classes * _GRID_ROWS
    return np.arange(count, dtype=np.int64) % classes, np.arange(count, dtype=np.int64)


def _number(name: str) -> int:
    return int(name.rsplit("/", 1)[1].split(".")[0])


def _checkpoints(key: str) -> str:
    return f"models/{key}/checkpoints/"


def _model_name(key: str) -> str:
    return f"models/{key}/model.safetensors"


def _bytes(state: Mapping[str, "Tensor"]) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})
