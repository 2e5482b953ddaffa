"""a model → synthetic samples: each row names its model, seed and index, and can be made again from them alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray import keys, models, rng
from dsray.errors import RecipeError
from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of, write
from dsray.lake.store import Store
from dsray.models import quota
from dsray.models.configs import JUDGES, PRIVATE
from dsray.recipe import Recipe
from dsray.stages import trainset
from dsray.stages.samples import counts, good, media, sample_table
from dsray.stages.step import Made, Step, Work, balance, digests, total
from dsray.stages.train import class_numbers, seed_of, synthesis
from dsray.synthesis import Synthesis

VERSION = 2

SHARD_ROWS = 1024
"""Rows of one sampling task, whole inner batches. Fixed, so that bytes don't depend on how many tasks run."""

_COMPARING = ("neighbours", "classifier")
"""Rules of rejection that ask the training rows."""


def check(recipe: Recipe) -> None:
    """Whether the recipe's models are there and can do what is asked of them. Raises RecipeError."""
    for name, wanted in recipe.synthesize.items():
        architecture, _ = models.preset(name, wanted.preset)
        if wanted.reject.discriminator and architecture not in JUDGES:
            raise RecipeError(
                f"synthesize.{name}.reject.discriminator: {architecture} keeps no discriminator.",
                f"These do: {', '.join(sorted(JUDGES))}.",
            )
        if wanted.warm and architecture in PRIVATE:
            raise RecipeError(
                f"synthesize.{name}.warm: {architecture} is private, and its budget counts one training, not what the "
                "model before had spent.",
                "Leave it out: train from the beginning.",
            )
        for rule in _COMPARING:
            if getattr(wanted.reject, rule) and architecture in PRIVATE:
                raise RecipeError(
                    f"synthesize.{name}.reject.{rule}: {architecture} is private, and what is compared with the "
                    "training rows is not.",
                    "Leave it out.",
                )


def step(recipe: Recipe, made: Made, name: str) -> Step:
    wanted = synthesis(recipe, name)
    trained = made[f"train {name}"]
    params = {
        "name": name, **{said: trained.params[said] for said in ("architecture", "config", "classes")},
        "rows": wanted.rows, "seed": seed_of(recipe, wanted), "kind": recipe.kind, "texts": recipe.texts(),
        **_options(name, wanted, trained.params["classes"]),
    }  # fmt: skip
    real = digests(made["gather"]) if _compares(params) else []
    return Step(f"synthesize {name}", "synthesize", VERSION, params, [*digests(trained), *real])


def _options(name: str, wanted: Synthesis, classes: list[str]) -> dict[str, Any]:
    """What a recipe says beyond the defaults; what it leaves out is no part of the key."""
    options = {
        "truncation": wanted.truncation if wanted.truncation < 1 else None,
        "counts": quota.counts(name, wanted.classes, classes) if wanted.classes else None,
        "reject": wanted.reject.model_dump(exclude_none=True),
    }
    return {option: value for option, value in options.items() if value}


def _compares(params: dict[str, Any]) -> bool:
    return not params.get("reject", {}).keys().isdisjoint(_COMPARING)


@dataclass(frozen=True)
class Sampling:
    """One shard of synthetic rows: [start, stop). `real` are the samples that candidates are compared with, if any, and
    `judge` a classifier that learned from them."""

    store: Store
    step: str
    model: Receipt
    real: list[Receipt]
    params: dict[str, Any]
    start: int
    stop: int
    judge: bytes = b""

    @property
    def name(self) -> str:
        key = keys.key("synthesize", VERSION, {"step": self.step, "start": self.start}, [])
        return name_of("synthesize", key)


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import connect
    from dsray.engine.tasks import map_all

    params, model = step.params, made[f"train {step.params['name']}"].shards[0]
    rows, reject = params["rows"], params.get("reject", {})
    real = made["gather"].shards if _compares(params) else []
    jobs = [
        Sampling(work.store, step.key, model, real, params, start, min(start + SHARD_ROWS, rows))
        for start in range(0, rows, SHARD_ROWS)
    ]
    if "classifier" in reject and not all(work.store.head(job.name) for job in jobs):
        # once, not in each worker: it takes seconds, and other CPUs round otherwise
        judge = map_all(taught, jobs[:1], lambda _: None, gpus=0)[0]
        jobs = [replace(job, judge=judge) for job in jobs]
    done: list[Receipt] = []

    def ended(receipt: Receipt) -> None:
        done.append(receipt)
        work.progress.show(sum(one.rows for one in done), rows, "")

    receipts: list[Receipt] = map_all(sample_shard, jobs, ended, gpus=1 if connect.gpus() else 0)
    rejected = {said: total(receipts, said) for said in _told(reject)}
    return step.manifest(receipts, balance(rows), rejected)


def _told(reject: dict[str, Any]) -> list[str]:
    """What is counted of candidates: those that were drawn, and those that each rule left out."""
    if not reject:
        return []
    return ["candidates", "near", *(["denied", "sure"] if "classifier" in reject else ["unreal"])]


def taught(job: Sampling) -> bytes:
    """In a worker: a classifier of the labelled training rows, as safetensors."""
    import torch
    from safetensors.torch import save

    from dsray.metrics import classifier

    torch.set_num_threads(1)
    images_NHWC, labels = trainset.arrays(job.store, job.real, job.params["kind"], trainset.room("cpu", 1))
    classes, seed = job.params["classes"], judge_seed(job.params["seed"])
    labels_N = np.where([label is None for label in labels], -1, class_numbers(labels, classes))
    net = classifier.fit(images_NHWC, labels_N, len(classes), seed)
    return save(net.state_dict())


def judge_seed(seed: int) -> int:
    """Another seed than those of the classifiers that measure how useful the rows are."""
    return int(rng.bits(seed, "judge", np.zeros(1, np.uint64))[0, 0] >> np.uint64(1))


def sample_shard(job: Sampling) -> Receipt:
    """In a worker: samples one shard and puts it, or adopts the one that stands."""
    if found := shards.adopt(job.store, job.name):
        return found
    table, rejected = synthetic(sampler(job), job.params, job.model.digest, job.start, job.stop)
    return write(job.store, job.name, table, {**counts(table), **rejected})


@dataclass(frozen=True)
class Sampler:
    """A model that is ready to draw, and what its candidates are held against."""

    class_of: Callable[[Any], Any]  # rows → classes
    draw: Callable[[Any, Any], Any]  # indices, classes → images
    near: Callable[[Any], Any] | None  # images → whether each hugs a training row
    score: Callable[[Any, Any, Any], Any] | None  # images, indices, classes → the greater, the rather kept


_READY: dict[str, Sampler] = {}
"""The step that this process samples for → its sampler: a worker makes many shards and loads the model once."""


def sampler(job: Sampling) -> Sampler:
    """The sampler of a job's step; only the last one is kept."""
    if job.step not in _READY:
        _READY.clear()
        _READY[job.step] = _loaded(job)
    return _READY[job.step]


def _loaded(job: Sampling) -> Sampler:
    import torch
    from safetensors.torch import load

    from dsray.models import draw, rejection

    torch.set_num_threads(1)
    params, device = job.params, "cuda" if torch.cuda.is_available() else "cpu"
    architecture = models.architecture(params["architecture"])
    config, seed, reject = architecture.Config(**params["config"]), params["seed"], params.get("reject", {})
    weights = load(shards.whole(job.store, job.model))
    net, truncation = architecture.painter(config, weights, device), params.get("truncation", 1.0)

    def images(index_N: Any, class_N: Any) -> Any:
        z_NZ = architecture.latents(config, weights, class_N, index_N, seed, truncation)
        return draw.paint(net, z_NZ, class_N, index_N, device)

    score: Callable[[Any, Any, Any], Any] | None = _doubt(job.judge) if job.judge else None
    if "discriminator" in reject:
        score = partial(rejection.realness, architecture.judge(config, weights, device), seed=seed, device=device)
    return Sampler(
        quota.order(params["counts"]).__getitem__ if "counts" in params else partial(_in_turn, len(params["classes"])),
        images,
        _near(job, reject["neighbours"]) if "neighbours" in reject else None,
        score,
    )


def _doubt(judge: bytes) -> Callable[[Any, Any, Any], Any]:
    from safetensors.torch import load

    from dsray.metrics import classifier

    net = classifier.restored(load(judge))
    return lambda images_NHWC, _, class_N: classifier.doubt(net, images_NHWC, class_N)


def _in_turn(classes: int, row_N: Any) -> Any:
    return row_N % max(1, classes)


def _near(job: Sampling, limit: float) -> Callable[[Any], Any]:
    """Whether an image's distance to the nearest training row is below `limit` times that to the second nearest, which
    is what the gate `copies` measures."""
    from dsray.metrics.copies import ratios
    from dsray.metrics.neighbours import flat

    columns = ["media", "split", "error"]
    tables = [good(table) for table in shards.each(job.store, job.real, columns, ahead=4)]
    media = [row for table in tables for row in table.filter(pc.equal(table["split"], "train"))["media"].to_pylist()]
    train_MF = np.unique(flat(kind(job.params["kind"]).to_arrays([row["bytes"] for row in media])), axis=0)
    return lambda images_NHWC: ratios(flat(images_NHWC), train_MF) < limit


def synthetic(
    sampler: Sampler, params: dict[str, Any], model: str, start: int, stop: int
) -> tuple[pa.Table, dict[str, int]]:
    """Rows [start, stop) of a model, and what was rejected for them. They join the training split.

    Row i is candidate i; where some are rejected, the rows have candidates of their own, from start × laps on.
    """
    index_N = np.arange(start, stop, dtype=np.int64)
    class_N = sampler.class_of(index_N)
    rejected: dict[str, int] = {}
    if reject := params.get("reject"):
        from dsray.models import rejection

        share, classes = reject.get("discriminator") or reject.get("classifier") or 1.0, params["classes"]
        judged = "classifier" in reject
        first = start * rejection.laps(share, judged)
        kept = rejection.keep(class_N, first, share, sampler.draw, sampler.near, sampler.score, classes, judged)
        index_N, images = kept.index_N, kept.images_NHWC
        found = {"candidates": kept.drawn, "near": kept.near, "denied": kept.denied, "unreal": kept.beaten,
                 "sure": kept.beaten}  # fmt: skip
        rejected = {said: found[said] for said in _told(reject)}
    else:
        images = sampler.draw(index_N, class_N)
    rows, label_N = len(index_N), [params["classes"][c] if params["classes"] else None for c in class_N]
    how = keys.canonical({"truncation": params["truncation"]}).decode() if "truncation" in params else None
    ids = [
        keys.row_id("synthesize", model, str(params["seed"]), str(index), label or "", how or "")
        for index, label in zip(index_N, label_N, strict=True)
    ]
    table = sample_table(
        rows,
        params["texts"],
        id=pa.array(ids, pa.string()),
        media=media(kind(params["kind"]).from_arrays(images), [f"{row}.png" for row in ids]),
        label=pa.array(label_N, pa.string()),
        split=pa.array(["train"] * rows),
        origin=pa.array(["synthetic"] * rows),
        source=pa.array([params["name"]] * rows),
        transform=pa.array([how] * rows, pa.string()),
        model=pa.array([model] * rows),
        seed=pa.array([params["seed"]] * rows, pa.int64()),
        index=pa.array(index_N, pa.int64()),
    )
    return table, rejected
