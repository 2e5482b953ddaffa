"""synthetic + real samples → scores of each model, each next to what real data gets; and pictures to judge by."""

from collections.abc import Iterator
from typing import Any

from dsray.errors import DsrayError
from dsray.lake.manifests import Manifest
from dsray.recipe import Recipe
from dsray.stages import trials
from dsray.stages.step import Made, Step, Work, digests
from dsray.stages.train import class_names
from dsray.stages.trials import Trial

VERSION = 2

_EACH = ("copies", "detection", "memorisation", "membership", "walk")
"""Trials of one model by itself."""
_ALWAYS = ("copies", "walk")

Found = dict[tuple[str, str, int], Any]
"""(trial, model or nothing, seed) → its result"""


def step(recipe: Recipe, made: Made) -> Step:
    synthetic = _synthetic(made)
    params = {
        "kind": recipe.kind, "seed": recipe.seed, "seeds": recipe.evaluate.seeds, "classes": class_names(made),
        "models": sorted(synthetic), "scores": sorted(set(recipe.evaluate.scores)),
    }  # fmt: skip
    inputs = [digest for name in sorted(synthetic) for digest in digests(synthetic[name])]
    return Step("evaluate", "evaluate", VERSION, params, [*digests(made["gather"]), *inputs])


def check(recipe: Recipe) -> None:
    """Raises DsrayError where FID is asked for and Inception's weights are not there: before anything is trained."""
    if recipe.synthesize and "fid" in recipe.evaluate.scores:
        from dsray.metrics import inception_weights

        if inception_weights.installed() is None:
            raise DsrayError(
                "The score fid needs Inception's weights; the package is not there.", inception_weights.WAYS
            )


def _synthetic(made: Made) -> dict[str, Manifest]:
    return {name.removeprefix("synthesize "): m for name, m in made.items() if name.startswith("synthesize ")}


def run(step: Step, made: Made, work: Work) -> Manifest:
    """All trials of all models in parallel; then the numbers side by side. Scores only: the gates are the recipe's."""
    from dsray.engine import connect
    from dsray.engine.tasks import run_all

    asked = list(_trials(step, made, work))
    ended: set[str] = set()

    def hear(_: int, news: str) -> None:
        ended.add(news)
        work.progress.show(len(ended), len(asked), news)

    parts = [([t for t in asked if t.score != "fid"], 0.0), ([t for t in asked if t.score == "fid"], 1.0)]
    found = {
        (trial.score, trial.model, trial.seed): result
        for some, gpus in parts if some
        for trial, result in zip(some, run_all(trials.attempt, some, hear, gpus if connect.gpus() else 0), strict=True)
    }  # fmt: skip
    scores = {name: _score(step, name, found) for name in step.params["models"]}
    first = step.params["seed"]
    seen = {name: _seen(name, found, first) for name in step.params["models"]}
    pictures = [receipt for one in seen.values() for receipt in one.pop("pictures")]
    return step.manifest(pictures, {}, {"scores": scores, "seen": seen})


def _trials(step: Step, made: Made, work: Work) -> Iterator[Trial]:
    """The longest first: the last to end should be short."""
    from dsray.metrics import distance

    first, scores = step.params["seed"], step.params["scores"]
    everyone = [_model(name, made) for name in step.params["models"]]

    def trial(score: str, seed: int, about: list[trials.Made]) -> Trial:
        return Trial(
            score, seed, work.store, work.recipe.kind, step.params["classes"], made["gather"].shards, about,
            scores if seed == first else [], f"evaluations/{step.key}/",
        )  # fmt: skip

    if "fid" in scores:
        yield trial("fid", first, everyone)
    for name in _EACH:
        if name in (*scores, *_ALWAYS):
            yield from (trial(name, first, [model]) for model in everyone)
    for network in range(distance.NETWORKS):
        yield trial("features", first + network, everyone)
    for seed in range(first, first + step.params["seeds"]):
        yield trial("train_on_real", seed, [])
        for name in ("train_on_synthetic", "train_on_both"):
            yield from (trial(name, seed, [model]) for model in everyone)


def _model(name: str, made: Made) -> trials.Made:
    trained, drawn = made[f"train {name}"], made[f"synthesize {name}"]
    seen = {int(point["step"]): int(point["images"]) for point in trained.details["curve"]}
    checkpoints = [(seen.get(one["step"], 0), one["name"]) for one in trained.details.get("samples", [])]
    params = (trained.params["architecture"], trained.params["config"], drawn.params["seed"])
    return trials.Made(name, *params, trained.shards[0], drawn.shards, checkpoints)


def _score(step: Step, model: str, found: Found) -> dict[str, Any]:
    """All that was measured of a model, as JSON says it."""
    from dsray.metrics import distance, utility

    first = step.params["seed"]
    seeds = range(first, first + step.params["seeds"])
    networks = range(first, first + distance.NETWORKS)
    hits = {
        "real": [found["train_on_real", "", seed] for seed in seeds],
        "synthetic": [found["train_on_synthetic", model, seed] for seed in seeds],
        "both": [found["train_on_both", model, seed] for seed in seeds],
    }
    scores: dict[str, Any] = {
        "usefulness": utility.summed(
            {name: [one["found"] for one in ones] for name, ones in hits.items()},
            hits["real"][0]["labels"], max(1, len(step.params["classes"])),
            hits["real"][0]["rows"], hits["synthetic"][0]["rows"],
        ),
        "distance": distance.averaged([found["features", "", seed][model]["distance"] for seed in networks]),
        "copies": found["copies", model, first]["score"],
    }  # fmt: skip
    spaces = found["features", "", first][model]
    scores |= {name: spaces[name] for name in ("kid", "prdc", "sliced") if name in spaces}
    scores |= {name: found[name, model, first] for name in ("detection", "memorisation", "membership")
               if (name, model, first) in found}  # fmt: skip
    if ("fid", "", first) in found:
        scores["fid"] = found["fid", "", first][model]
    return scores


def _seen(model: str, found: Found, first: int) -> dict[str, Any]:
    """What a person looks at: pictures on the lake, suspects, and the distance at each checkpoint by one network."""
    copied, walk = found["copies", model, first], found["walk", model, first]
    return {
        "pictures": [copied["sheet"], walk],
        "nearest": {"sheet": copied["sheet"].name, "suspects": copied["suspects"]},
        "walk": walk.name,
        "over_time": found["features", "", first][model]["over_time"],
    }
