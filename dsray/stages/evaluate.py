"""synthetic + real samples → scores: usefulness, distance and copies of each model, next to what real data gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.recipe import Limit, Recipe
from dsray.stages.samples import good
from dsray.stages.step import Made, Step, Work, digests
from dsray.stages.train import class_names, class_numbers

VERSION = 1


def step(recipe: Recipe, made: Made) -> Step:
    synthetic = _synthetic(made)
    params = {
        "kind": recipe.kind, "seed": recipe.seed, "seeds": recipe.evaluate.seeds, "classes": class_names(made),
        "models": sorted(synthetic),
    }  # fmt: skip
    inputs = [digest for name in sorted(synthetic) for digest in digests(synthetic[name])]
    return Step("evaluate", "evaluate", VERSION, params, [*digests(made["gather"]), *inputs])


def _synthetic(made: Made) -> dict[str, Manifest]:
    return {name.removeprefix("synthesize "): m for name, m in made.items() if name.startswith("synthesize ")}


@dataclass(frozen=True)
class Trial:
    """One piece of evaluation, done by one task."""

    score: str  # accuracy, distance, copies
    data: str  # real, <model>, real + <model>
    seed: int
    store: Store
    kind: str
    classes: list[str]
    real: list[Receipt]
    synthetic: list[Receipt]


def run(step: Step, made: Made, work: Work) -> Manifest:
    """All trials of all models in parallel; then the numbers side by side. Scores only: the gates are the recipe's."""
    from dsray.engine.tasks import run_all

    trials = list(_trials(step, made, work))
    ended: set[int] = set()

    def hear(index: int, news: str) -> None:
        ended.add(index)
        work.progress.show(len(ended), len(trials), news)

    results = run_all(attempt, trials, hear)
    found = {(t.score, t.data, t.seed): result for t, result in zip(trials, results, strict=True)}
    seeds = range(step.params["seed"], step.params["seed"] + step.params["seeds"])
    scores = {name: _score(name, found, seeds) for name in step.params["models"]}
    return step.manifest([], {}, {"scores": scores})


def _trials(step: Step, made: Made, work: Work) -> list[Trial]:
    def trial(score: str, data: str, seed: int, model: str | None) -> Trial:
        synthetic = made[f"synthesize {model}"].shards if model else []
        return Trial(
            score, data, seed, work.store, work.recipe.kind, step.params["classes"], made["gather"].shards, synthetic
        )

    first = step.params["seed"]
    trials = []
    for seed in range(first, first + step.params["seeds"]):
        trials.append(trial("accuracy", "real", seed, None))
        for model in step.params["models"]:
            trials.append(trial("accuracy", model, seed, model))
            trials.append(trial("accuracy", f"real + {model}", seed, model))
    for model in step.params["models"]:
        trials += [trial("distance", model, first, model), trial("copies", model, first, model)]
    return trials


def attempt(trial: Trial, post: Any) -> Any:
    """In a worker: one trial, on one thread."""
    import torch

    from dsray.metrics import copies, distance, utility

    torch.set_num_threads(1)
    train, held_out = arrays(trial, "train"), arrays(trial, "test")
    synthetic = _table_arrays(trial, trial.synthetic, "train") if trial.synthetic else None
    classes = max(1, len(trial.classes))
    result: Any
    if trial.score == "accuracy":
        if trial.data == "real":
            sets = [train]
        else:
            assert synthetic is not None
            sets = [train, synthetic] if trial.data.startswith("real + ") else [synthetic]
        images, labels = (np.concatenate(both) for both in zip(*sets, strict=True))
        result = {"accuracy": utility.accuracy(images, labels, *held_out, classes, trial.seed), "rows": len(labels)}
    elif trial.score == "distance":
        assert synthetic is not None
        result = distance.learned_distance(*train, held_out[0], synthetic[0], classes, trial.seed)
    else:
        assert synthetic is not None
        result = copies.copies(synthetic[0], train[0], held_out[0])
    post(f"{trial.score} of {trial.data}")
    return result


def arrays(trial: Trial, split: str) -> tuple[Any, Any]:
    return _table_arrays(trial, trial.real, split)


def _table_arrays(trial: Trial, receipts: Sequence[Receipt], split: str) -> tuple[Any, Any]:
    """uint8 [N, H, W, C] and class numbers [N] of one split, in the order of ids."""
    columns = ["id", "media", "label", "split", "error"]
    table = pa.concat_tables(good(shards.read(trial.store, receipt, columns)) for receipt in receipts)
    table = table.filter(pc.equal(table["split"], split)).sort_by("id")
    images = kind(trial.kind).to_arrays([media["bytes"] for media in table["media"].to_pylist()])
    return images, class_numbers(table["label"].to_pylist(), trial.classes)


def _score(model: str, found: dict[tuple[str, str, int], Any], seeds: range) -> dict[str, Any]:
    def accuracies(data: str) -> list[float]:
        return [found["accuracy", data, seed]["accuracy"] for seed in seeds]

    real, synthetic, both = accuracies("real"), accuracies(model), accuracies(f"real + {model}")
    return {
        "usefulness": {
            "ratio": fmean(synthetic) / max(fmean(real), 1e-9),
            "real": real, "synthetic": synthetic, "both": both,
            "rows_real": found["accuracy", "real", seeds[0]]["rows"],
            "rows_synthetic": found["accuracy", model, seeds[0]]["rows"],
        },
        "distance": found["distance", model, seeds[0]],
        "copies": found["copies", model, seeds[0]],
    }  # fmt: skip


def gates(scores: dict[str, Any], wanted: dict[Any, Limit]) -> list[dict[str, Any]]:
    """Each gate of each model: its number, its limit, and whether it passed. A number that is not one fails."""
    found = []
    for model, score in scores.items():
        values = {
            "usefulness": score["usefulness"]["ratio"],
            "copies": score["copies"]["share"],
            "distance": score["distance"]["ratio"],
        }
        for gate, limit in wanted.items():
            value = values[gate]
            passed = (limit.min is None or value >= limit.min) and (limit.max is None or value <= limit.max)
            bounds = [
                f"min {limit.min:g}" if limit.min is not None else "",
                f"max {limit.max:g}" if limit.max is not None else "",
            ]
            found.append(
                {
                    "model": model,
                    "gate": gate,
                    "value": value,
                    "limit": " ".join(filter(None, bounds)),
                    "passed": passed,
                }
            )
    return found
