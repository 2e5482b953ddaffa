"""Synthetic MNIST after equal seconds of training: `gan quick` against DCGAN, `vae quick` against pythae's VAE.

Each is trained on the 60,000 digits by two threads and makes 500 rows of each digit. A network that learned from other
real rows compares them with 5,000 test digits (FD, KID, coverage; the floor is 5,000 training digits against these); a
classifier that learns from them is asked for the 10,000 test digits (TSTR), beside one that learned from 5,000 real
rows (TRTR). Whether real and synthetic rows together teach more than the real ones alone is asked of classifiers that
learn nearly four times as long: after the 400 steps of a build each of twice as many rows was seen half as often. Of
pythae's samplers the one of the least FD counts. The seconds are those really used: our VAE's mixture is fitted and the
classifier of `reject.classifier`, by which its rows are chosen, learns within them, pythae's samplers are fitted after
them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import protocol
from benchmarks.mnist import mnist
from dsray.lake.keeper import die_with_parent

RIVALS = {"gan quick": "gan dcgan", "vae quick": "vae pythae"}
AT_LEAST = {"gan quick": 0.97, "vae quick": 1.0}  # TSTR over TRTR
BETTER = {"FD": min, "KID": min, "coverage": max, "TSTR": max}
REAL = "real"
ROWS, FEW = 5000, 500
LONG = 1500  # steps of the classifiers that learn from real and synthetic rows together, and from the real ones alone
KNOWN = 50_000  # the training digits behind these teach the network that compares, and are not compared
SHARES = {"vae quick": 0.15}  # `reject.classifier`; a GAN's rows beside real ones gain nothing by it (DECISIONS.md)
THREADS = 2
PYTHAE = Path(__file__).parent.parent / ".venv" / "pythae-env" / "bin" / "python"

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = dict[str, Any]


class Run(NamedTuple):
    """What is the same for every model and seed."""

    seconds: float
    jobs: int  # side by side, with an equal share of the threads
    keep: Path  # rows and scores, so that a run that was cut off goes on
    classifiers: int = 2  # seeds of the classifier for each seed of a model
    fitted: int = 10_000  # rows of a digit that pythae's samplers are fitted to, at most: all
    long: int = LONG
    plain: bool = False  # rows as they come, without `reject.classifier`

    def file(self, model: str, seed: int, ending: str) -> Path:
        share = self.share(model)
        chosen = f"-{share:g}" if share else ""
        return self.keep / f"{model.replace(' ', '-')}-{seed}-{self.seconds:g}s{chosen}.{ending}"

    def share(self, model: str) -> float:
        """`reject.classifier`; 0: without it."""
        return 0.0 if self.plain else SHARES.get(model, 0.0)


def make(run: Run, model: str, seed: int) -> None:
    """Trains a model and keeps the rows that it makes."""
    out, threads = run.file(model, seed, "npz"), THREADS // run.jobs
    if out.exists():
        return
    if model == "vae pythae":
        arguments = [out, run.seconds, seed, threads, run.fitted]
        subprocess.run([str(PYTHAE), "-m", "benchmarks.generative_pythae", *map(str, arguments)], check=True)
        return
    rows, used_s, seen = ours(*model.split(), seed, run.seconds, threads, run.share(model))
    unfinished = out.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(unfinished, rows=rows, seconds=used_s, images=seen)
    unfinished.replace(out)


def ours(family: str, preset: str, seed: int, seconds: float, threads: int, share: float) -> tuple[Images, float, int]:
    """Rows of a preset [digits, rows, 28, 28], the seconds that it was trained and the images that it saw. With a
    `share`, `reject.classifier` chooses them."""
    import torch

    from dsray import models
    from dsray.metrics import classifier
    from dsray.models import draw, loop
    from dsray.stages.synthesize import judge_seed

    torch.set_num_threads(threads)
    images, labels, _, _ = mnist()
    architecture_name, numbers = models.preset(family, preset)
    architecture = models.architecture(architecture_name)

    def start(count: int) -> Any:
        config = architecture.Config(**{**numbers, "images": count})
        return architecture.start(config, images, labels, 10, seed, "cpu")

    begin = time.perf_counter()
    net = classifier.fit(images, labels, 10, judge_seed(seed)) if share else None
    judge_s = time.perf_counter() - begin
    seconds -= judge_s

    trial, warm, step = start(10**7), 5, 0
    begin = time.perf_counter()
    while step < 2 * warm or time.perf_counter() - begin < 0.04 * seconds:
        trial.step(step, 0, 1, loop.alone)
        step += 1
        if step == warm:  # the first ones are slow
            begin = time.perf_counter()
    step_s = (time.perf_counter() - begin) / (step - warm)
    begin = time.perf_counter()
    trial.weights()  # a mixture is fitted
    ending_s = time.perf_counter() - begin

    training = start(max(1, int((seconds - ending_s) / step_s)) * trial.batch)
    begin, step = time.perf_counter(), 0
    while step < training.steps:
        training.step(step, 0, 1, loop.alone)
        step += 1
        if step % 20 == 0:  # the speed of a machine changes: the schedule ends when the time does
            spent_s = time.perf_counter() - begin
            training.steps = step + max(0, int((seconds - ending_s - spent_s) / (spent_s / step)))
    weights = training.weights()
    used_s = time.perf_counter() - begin + judge_s
    made = drawn(partial(draw.sample, architecture, training.config, weights), seed, net, share)
    return made.reshape(-1, 10, 28, 28).swapaxes(0, 1), used_s, training.steps * training.batch


def drawn(sample: Callable[..., Images], seed: int, net: Any, share: float) -> Images:
    """As many rows of each digit, the digits in turn: the first ones, or those that `net` chooses."""
    from dsray.metrics import classifier
    from dsray.models import rejection

    def draw(index_N: Labels, digit_N: Labels) -> Images:
        return sample(digit_N, index_N, seed, "cpu")

    def doubt(images: Images, _: Labels, digit_N: Labels) -> Any:
        return classifier.doubt(net, images, digit_N)

    digits = np.arange(ROWS) % 10
    if not net:
        return draw(np.arange(ROWS), digits)
    return rejection.keep(digits, 0, share, draw, None, doubt, [], judged=True).images_NHWC


def judge(run: Run, model: str, seed: int) -> None:
    """Scores the rows of a model, or as many real ones, and keeps the scores."""
    out = run.file(model, seed, "json")
    if out.exists():
        return
    import torch

    torch.set_num_threads(1)
    images, labels, test, test_labels = mnist()
    real_N = balanced(labels[:KNOWN], ROWS // 10, seed)
    sizes = {FEW: real_N[np.arange(ROWS) % (ROWS // 10) < FEW // 10], ROWS: real_N}
    digits = np.repeat(np.arange(10), ROWS // 10)
    seeds = range(seed * run.classifiers, (seed + 1) * run.classifiers)
    found = partial(accuracy, test, test_labels, seeds)
    longer = partial(found, steps=run.long)
    if model == REAL:
        scores: Scores = distances(images[real_N], images[real_N], seed)
        scores["TSTR"] = found(images[real_N], labels[real_N])
        scores |= {f"alone {n}": longer(images[row_N], labels[row_N]) for n, row_N in sizes.items()}
    else:
        kept = dict(np.load(run.file(model, seed, "npz")))
        scores = {"seconds": float(kept.pop("seconds")), "images": int(kept.pop("images"))}
        made = {sampler: rows.reshape(ROWS, 28, 28, 1) for sampler, rows in kept.items()}
        compared = {sampler: distances(images[real_N], rows, seed) for sampler, rows in made.items()}
        best = min(compared, key=lambda sampler: float(compared[sampler]["FD"]))
        scores |= {**compared[best], "sampler": best, "TSTR": found(made[best], digits)}
        for n, row_N in sizes.items() if model in RIVALS else ():
            both = np.concatenate([images[row_N], made[best]]), np.concatenate([labels[row_N], digits])
            scores[f"both {n}"] = longer(*both)
    unfinished = out.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(scores))
    unfinished.replace(out)


def balanced(labels: Labels, each: int, seed: int) -> Labels:
    """Places of `each` rows of every digit, digit by digit."""
    from dsray import rng

    order = rng.permutation(seed, "benchmark rows", len(labels))
    return np.concatenate([order[labels[order] == digit][:each] for digit in range(10)])


def distances(real: Images, made: Images, seed: int) -> Scores:
    """FD, KID and coverage of rows against test digits; those of other real rows are their floor."""
    from dsray.metrics import classifier
    from dsray.metrics.distance import frechet
    from dsray.metrics.kid import kid
    from dsray.metrics.prdc import balls

    net, features_of_test = extractor()
    features, others = (classifier.features(net, rows) for rows in (made, real))
    distance = kid(*(x.astype(np.float32) for x in (features_of_test, others, features)), "", seed)
    coverage = balls(features_of_test, features)["coverage"]
    return {"FD": frechet(features, features_of_test), "KID": distance["kid"], "coverage": coverage}


@cache
def extractor() -> tuple[Any, NDArray[np.float64]]:
    """The one network that compares, and its features of the first test digits."""
    from dsray.metrics import classifier

    images, labels, test, _ = mnist()
    net = classifier.fit(images[KNOWN:], labels[KNOWN:], 10, 0)
    return net, classifier.features(net, test[:ROWS])


def accuracy(
    test: Images, test_labels: Labels, seeds: range, images: Images, labels: Labels, steps: int | None = None
) -> float:
    """On the test digits after training on `images`: the mean over the seeds of the classifier."""
    from dsray.metrics import classifier

    nets = (classifier.fit(images, labels, 10, seed, steps) for seed in seeds)
    return statistics.mean(classifier.accuracy(net, test, test_labels) for net in nets)


def means(found: list[Scores]) -> Scores:
    """Of all that is a number, over the seeds."""
    return {name: statistics.mean(one[name] for one in found) for name in found[0] if name != "sampler"}


def goals(mean: dict[str, Scores]) -> Iterator[tuple[str, bool]]:
    """Each goal in words, and whether the means over the seeds reach it."""
    for model, rival in RIVALS.items():
        for score, better in BETTER.items():
            ours_, theirs = mean[model][score], mean[rival][score]
            holds = ours_ != theirs and better(ours_, theirs) == ours_
            yield f"{model} beats {rival} in {score} ({ours_:.4g}, {theirs:.4g})", holds
        ratio = mean[model]["TSTR"] / mean[REAL]["TSTR"]
        yield f"{model}: TSTR {ratio:.3f} of TRTR, at least {AT_LEAST[model]:g}", ratio >= AT_LEAST[model]
        for n in (FEW, ROWS):
            both, alone = mean[model][f"both {n}"], mean[REAL][f"alone {n}"]
            yield f"{model}: {n} real + {ROWS} synthetic {both:.4f}, real alone {alone:.4f}", both > alone


def table(scores: dict[str, list[Scores]]) -> str:
    """Mean ± standard deviation over the seeds, as Markdown."""
    names = ("seconds", "images", *BETTER, f"both {FEW}", f"both {ROWS}")
    lines = [f"| | {' | '.join(names)} | sampler |", "|---" * (len(names) + 2) + "|"]
    for model, found in scores.items():
        alone = {f"both {n}": [one[f"alone {n}"] for one in found] for n in (FEW, ROWS)} if model == REAL else {}
        cells = [spread(alone.get(name) or [one[name] for one in found if name in one]) for name in names]
        lines.append(f"| {model} | {' | '.join(cells)} | {', '.join(sorted({s.get('sampler', '') for s in found}))} |")
    extractor_of = f"the network of TRTR after {60_000 - KNOWN} other training digits, 64 features"
    note = f"n = {ROWS} rows on either side; extractor: {extractor_of}; floors: the row '{REAL}' (TSTR there is TRTR)"
    return "\n".join([*lines, f"{note}; 'both' is real + synthetic, in the row '{REAL}' real alone"])


def spread(values: list[float]) -> str:
    if not values:
        return ""
    mean, deviation = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{mean:.0f} ± {deviation:.0f}" if mean >= 100 else f"{mean:.4f} ± {deviation:.4f}"


def lacking() -> str | None:
    """What is not there, in a sentence."""
    from dsray import models
    from dsray.errors import RecipeError

    try:
        mnist()
        models.preset("gan", "dcgan")
    except FileNotFoundError as error:
        return f"MNIST is not there: {error.filename}."
    except RecipeError as error:
        return str(error)
    return None if PYTHAE.exists() else "pythae is not installed: `make bench` installs it."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute: one seed, a few seconds of training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=150.0, help="of training, each")
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2), help="trainings at once; they share 2 threads")
    parser.add_argument("--plain", action="store_true", help="our rows as they come, without `reject.classifier`")
    parser.add_argument("--keep", type=Path, help="where rows and scores are kept; what is there is not made again")
    options = parser.parse_args()
    if missing := lacking():
        print(missing, file=sys.stderr)
        return 2
    seeds, seconds = (1, 3.0) if options.quick else (options.seeds, options.seconds)
    models = [model for pair in RIVALS.items() for model in pair]
    with tempfile.TemporaryDirectory(prefix="dsray-bench-") as folder:
        less = {"classifiers": 1, "fitted": 500, "long": 400} if options.quick else {}
        run = Run(seconds, options.jobs, options.keep or Path(folder), plain=options.plain or options.quick, **less)
        run.keep.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(run.jobs, get_context("spawn"), die_with_parent) as pool:
            list(pool.map(partial(make, run), models * seeds, np.repeat(range(seeds), len(models)).tolist()))
        judged = [REAL, *models]
        with ProcessPoolExecutor(THREADS, get_context("spawn"), die_with_parent) as pool:
            list(pool.map(partial(judge, run), judged * seeds, np.repeat(range(seeds), len(judged)).tolist()))
        scores = {m: [json.loads(run.file(m, seed, "json").read_text()) for seed in range(seeds)] for m in judged}
    print(table(scores))
    held, failed = [], []
    for words, holds in goals({model: means(found) for model, found in scores.items()}):
        (held if holds else failed).append(words)
    print(
        f"{seeds} seeds, {seconds:g} s each; fails: {'; '.join(failed) or 'none'}. Holds: {'; '.join(held) or 'none'}"
    )
    return protocol.verdict("generative", len(held), len(held + failed), len(held) / len(held + failed), 1.0, "goals")


if __name__ == "__main__":
    sys.exit(main())
