"""training samples → a model: Ray Train runs the loop, checkpoints lie on the lake, a killed run resumes from the last.

models/<key>/model.safetensors   what sampling needs; beside it the checkpoints
.dsray/tensorboard/              event files, on the driver's machine: `tensorboard --logdir .dsray/tensorboard`
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dsray import keys, models
from dsray.errors import DsrayError, RecipeError
from dsray.lake.manifests import Manifest
from dsray.lake.session import FOLDER
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.models import quota
from dsray.models.configs import PRIVATE
from dsray.recipe import Recipe
from dsray.report.board import Board
from dsray.stages import retrain, trainset
from dsray.stages.checkpoints import Checkpoints, Place, Story, Unreadable, packed
from dsray.stages.retrain import Standing
from dsray.stages.step import Made, Progress, Step, Work, digests
from dsray.synthesis import Synthesis

if TYPE_CHECKING:
    from dsray.engine.training import Worker
    from dsray.models import loop as steps

VERSION = 2

_GRID_ROWS = 6
_SAMPLES, _SAMPLE_BYTES = 512, 2**24  # of a checkpoint, at most


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
    parent: str | None = None
    """The key of the model whose networks it begins with."""


def step(recipe: Recipe, made: Made, name: str, standing: Standing | None = None) -> Step:
    """The step of a new model, or of the one that stands. The number of workers is no parameter: it does not change
    what is made, but for the order of sums."""
    wanted = synthesis(recipe, name)
    architecture, config = models.preset(name, wanted.preset)
    told_before_training(name, wanted, made)
    params = {
        "architecture": architecture,
        "config": config,
        "seed": seed_of(recipe, wanted),
        "classes": class_names(made),
    }
    fresh = Step(f"train {name}", "train", VERSION, params, digests(made["gather"]))
    return retrain.decided(fresh, wanted, made, standing)


def told_before_training(name: str, wanted: Synthesis, made: Made) -> None:
    """Raises RecipeError for rows that cannot be drawn."""
    classes = class_names(made)
    quota.counts(name, wanted.classes, classes)
    if not wanted.reject.classifier:
        return
    learned = {label for label in classes if made["select"].details["classes"][label].get("train")}
    if len(learned) < 2:
        raise RecipeError(
            f"synthesize.{name}.reject.classifier: training rows of two classes are needed, not of {len(learned)}.",
            "Leave it out, or label the rows.",
        )
    drawn = {label for label, rows in wanted.classes.items() if rows} or set(classes)
    if drawn - learned:
        raise RecipeError(
            f"synthesize.{name}.reject.classifier: no training row is of '{min(drawn - learned)}'.",
            f"Say in `synthesize.{name}.classes` how many rows of which other labels are wanted.",
        )


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
        step.params["classes"], step.params["seed"], step.key, retrain.parent(step.params),
    )  # fmt: skip
    learned = retrain.learned(step.key, made, work.store)
    gpus = connect.gpus()
    workers = fitting(wanted.workers, gpus or connect.cpus())
    label = f"{name}-{step.key[:12]}"
    with Ear(job, work.progress, FOLDER / "tensorboard" / work.recipe.dataset / label) as ear:
        training.train(_Loop(job), name=label, workers=workers, gpu=gpus > 0, hear=ear)
    if work.store.head(_model_name(step.key)) is None:
        raise DsrayError(f"Training {name} ended without a model.", "Run again to go on from its last checkpoint.")
    data = work.store.read(_model_name(step.key))
    receipt = Receipt(_model_name(step.key), keys.digest(data), 0, len(data), {})
    kept = Checkpoints(work.store, step.key)
    story = kept.last()
    details = {
        "curve": story.points, "grids": kept.grids(), "samples": kept.grids("npy"), "turns": story.turns,
        "notes": ear.notes, "workers": ear.workers, "private": _private(step, data),
        "learned": learned, "end": kept.end(_steps(story)) if step.params["architecture"] not in PRIVATE else None,
    }  # fmt: skip
    return step.manifest([receipt], {}, details)


def _steps(story: Story) -> int:
    return int(story.points[-1]["step"]) if story.points else 0


def fitting(wanted: int | tuple[int, int], there: int) -> int | tuple[int, int]:
    """No more workers than have a place; of (least, most) the most may come later."""
    return min(wanted, there) if isinstance(wanted, int) else (min(wanted[0], there), wanted[1])


class Ear:
    """Hears the workers' news, (what, news): shows them, and writes the event files."""

    def __init__(self, job: Training, progress: Progress, folder: Path) -> None:
        self.progress, self.workers, self.step, self.steps = progress, 1, 0, 0
        self.notes: list[str] = []
        kept = Checkpoints(job.store, job.key)
        grids = {grid["step"]: job.store.read(grid["name"]) for grid in kept.grids()}
        self.board = Board(folder, kept.last().points, grids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.close()

    def __call__(self, news: tuple[str, Any]) -> None:
        getattr(self, news[0])(news[1])

    def began(self, news: tuple[int, int]) -> None:
        self.workers, self.steps = news

    def point(self, point: dict[str, float]) -> None:
        self.board.add(point)
        self.step = int(point["step"])
        losses = " ".join(f"{k} {v:.3g}" for k, v in point.items() if k not in ("step", "images", "images_per_s"))
        self.progress.show(self.step, self.steps, f"{point['images_per_s']:.0f} images/s  {losses}")

    def grid(self, grid: tuple[int, bytes]) -> None:
        self.board.grid(*grid)

    def turn(self, turn: "steps.Turn") -> None:
        self.board.back(turn.to)
        self.say(f"step {turn.step}: {turn.why}; back to {turn.to}")

    def say(self, note: str) -> None:
        self.notes.append(note)
        self.progress.show(self.step, self.steps, note)


@dataclass(frozen=True)
class _Loop:
    job: Training

    def __call__(self, worker: "Worker") -> None:
        loop(self.job, worker)


def loop(job: Training, worker: "Worker") -> None:
    """What runs on every training worker: load, resume, train, write the model (rank 0)."""
    from dsray.models import loop as steps

    room = trainset.room(worker.device, worker.world)
    images_NHWC, labels = trainset.arrays(job.store, job.samples, job.kind, room)
    labels_N = class_numbers(labels, job.classes)
    architecture = models.architecture(job.architecture)
    config = architecture.Config(**job.config)
    training = architecture.start(config, images_NHWC, labels_N, max(1, len(job.classes)), job.seed, worker.device)
    if job.parent:
        training.load(begun(job.store, job.parent, training.steps, training.state()))
    diary = Diary(job, worker, training)
    if worker.rank == 0:
        worker.post(("began", (worker.world, training.steps)))
    weights = steps.train(
        training, rank=worker.rank, world=worker.world, reduce=worker.reduce,
        saved=diary.saved, resumed=diary.resumed, save=diary.save, show=diary.show, report=diary.report,
    )  # fmt: skip
    if worker.rank == 0:
        job.store.create(_model_name(job.key), packed(weights))


def begun(store: Store, parent: str, steps: int, like: "steps.State") -> "steps.State":
    """The state that a training begins with which goes on from another model: all its networks and their averages as
    they were after its last step. What the optimizer remembers begins at zero, and so do all schedules."""
    try:
        state = Checkpoints(store, parent).begin(steps, like)
    except Unreadable as why:
        raise DsrayError(
            f"This training begins with the checkpoint of the last step of model {parent[:12]}, which {why}.",
            "Take `warm` out of the recipe to train from nothing.",
        ) from None
    return {name: state[name].zero_() if name.endswith((".mean", ".square")) else state[name] for name in like}


def class_numbers(labels: list[str | None], classes: list[str]) -> NDArray[np.int64]:
    """Labels → int64 [N]: the place in `classes`; rows without a label are class 0 of 1."""
    place = {label: number for number, label in enumerate(classes)}
    return np.array([place.get(label or "", 0) for label in labels], np.int64)


class Diary:
    """Keeps a run's story and checkpoints. Rank 0 tells the driver."""

    def __init__(self, job: Training, worker: "Worker", training: "steps.Training") -> None:
        from dsray.models import loop as steps

        self.job, self.device, self.training = job, worker.device, training
        self.first = worker.rank == 0
        self.post: Callable[[tuple[str, Any]], None] = worker.post if self.first else lambda news: None
        self.kept, self.story = Checkpoints(job.store, job.key), Story()
        self.anchors = steps.anchors(training.steps)

    def saved(self) -> "Iterator[tuple[int, steps.State]]":
        like = self.training.state()
        for place, state in self.kept.readable(like, self.first, lambda note: self.post(("say", note))):
            yield place.step, state

    def resumed(self, step: int, state: "steps.State", turn: "steps.Turn | None") -> None:
        if turn:
            self.story = self.story.until(step)
            self.story.turns.append(turn._asdict())
            self.post(("turn", turn))
        elif step:
            self.story = self.kept.story(_place(step, state))

    def report(self, point: dict[str, float]) -> None:
        turns = len(self.story.turns)
        self.story.points.append({**point, "attempt": turns + 1} if turns else point)
        self.post(("point", self.story.points[-1]))

    def show(self, step: int, weights: "steps.State") -> None:
        """Some samples, to be measured; the first are a grid with the classes side by side."""
        from dsray.models import draw
        from dsray.report.grid import grid

        job, classes = self.job, max(1, len(self.job.classes))
        architecture = models.architecture(job.architecture)
        shown = classes * _GRID_ROWS
        count = max(shown, min(_SAMPLES, _SAMPLE_BYTES // int(weights["shape"][:3].prod())))
        index_N = np.arange(count, dtype=np.int64)
        config = architecture.Config(**job.config)
        images = draw.sample(architecture, config, weights, index_N % classes, index_N, job.seed, self.device)
        png, place = grid(images[:shown], columns=classes), Place(len(self.story.turns), step)
        job.store.create(self.kept.name(place, "npy"), _array(images))
        job.store.create(self.kept.name(place, "png"), png)
        self.post(("grid", (step, png)))

    def save(self, step: int, state: "steps.State") -> None:
        self.kept.write(_place(step, state), state, self.story.until(step), self.anchors)


def _place(step: int, state: "steps.State") -> Place:
    from dsray.models import loop as steps

    return Place(len(steps.Past.of(state).turns), step)


def _private(step: Step, data: bytes) -> dict[str, Any] | None:
    """What a model's weights say was spent of its rows' privacy."""
    from safetensors.numpy import load

    from dsray.models import privacy

    accountant = privacy.ACCOUNTANTS.get(step.params["architecture"])
    found = privacy.spent(load(data)) if accountant else None
    return {**found, "accountant": accountant} if found else None


def _array(images: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    np.save(out, images, allow_pickle=False)
    return out.getvalue()


def _model_name(key: str) -> str:
    return f"models/{key}/model.safetensors"
