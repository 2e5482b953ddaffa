"""a model → synthetic samples: each row names its model, seed and index, and can be made again from them alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dsray import keys, models
from dsray.kinds import kind
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of, write
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.stages.samples import counts, media, sample_table
from dsray.stages.step import Made, Step, Work, balance, digests
from dsray.stages.train import seed_of, synthesis

VERSION = 1

SHARD_ROWS = 1000
"""Rows of one sampling task. Fixed, so that bytes don't depend on how many tasks run."""


def step(recipe: Recipe, made: Made, name: str) -> Step:
    wanted = synthesis(recipe, name)
    trained = made[f"train {name}"]
    params = {
        "name": name, **{said: trained.params[said] for said in ("architecture", "config", "classes")},
        "rows": wanted.rows, "seed": seed_of(recipe, wanted), "kind": recipe.kind, "texts": recipe.texts(),
    }  # fmt: skip
    return Step(f"synthesize {name}", "synthesize", VERSION, params, digests(trained))


@dataclass(frozen=True)
class Sampling:
    """One shard of synthetic rows: indices [start, stop)."""

    store: Store
    name: str
    model: Receipt
    params: dict[str, Any]
    start: int
    stop: int


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import connect
    from dsray.engine.tasks import run_all

    model = made[f"train {step.params['name']}"].shards[0]
    rows = step.params["rows"]
    jobs = [
        Sampling(work.store, _name(step, start), model, step.params, start, min(start + SHARD_ROWS, rows))
        for start in range(0, rows, SHARD_ROWS)
    ]
    done: dict[int, int] = {}

    def hear(index: int, count: int) -> None:
        done[index] = count
        work.progress.show(sum(done.values()), rows, "")

    receipts: list[Receipt] = run_all(sample_shard, jobs, hear, gpus=1 if connect.gpus() else 0)
    return step.manifest(receipts, balance(rows))


def _name(step: Step, start: int) -> str:
    return name_of("synthesize", keys.key("synthesize", VERSION, {"step": step.key, "start": start}, []))


def sample_shard(job: Sampling, post: Any) -> Receipt:
    """In a worker: samples one shard and puts it, or adopts the one that stands."""
    from safetensors.torch import load

    from dsray.lake.shards import adopt

    if found := adopt(job.store, job.name):
        return found
    weights = load(job.store.read(job.model.name))
    table = synthetic(weights, job.params, job.model.digest, job.start, job.stop)
    post(table.num_rows)
    return write(job.store, job.name, table, counts(table))


def synthetic(weights: Any, params: dict[str, Any], model: str, start: int, stop: int) -> pa.Table:
    """Rows [start, stop) of a model: classes in turn, so any 1000 rows are balanced. They join the training split."""
    import torch

    from dsray.models import draw

    torch.set_num_threads(1)
    architecture = models.architecture(params["architecture"])
    index_N = np.arange(start, stop, dtype=np.int64)
    class_N = index_N % max(1, len(params["classes"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = draw.sample(
        architecture, architecture.Config(**params["config"]), weights, class_N, index_N, params["seed"], device
    )
    ids = [keys.row_id("synthesize", model, str(params["seed"]), str(index)) for index in index_N]
    rows = len(ids)
    return sample_table(
        rows,
        params["texts"],
        id=pa.array(ids, pa.string()),
        media=media(kind(params["kind"]).from_arrays(images), [f"{row}.png" for row in ids]),
        label=pa.array([params["classes"][c] if params["classes"] else None for c in class_N], pa.string()),
        split=pa.array(["train"] * rows),
        origin=pa.array(["synthetic"] * rows),
        source=pa.array([params["name"]] * rows),
        model=pa.array([model] * rows),
        seed=pa.array([params["seed"]] * rows, pa.int64()),
        index=pa.array(index_N, pa.int64()),
    )
