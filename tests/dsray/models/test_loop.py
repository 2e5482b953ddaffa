"""Promises of every architecture: exact resume, the same result on two workers, rows that don't know their company."""

import importlib.util
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from dsray import models
from dsray.errors import DsrayError
from dsray.models import draw, loop
from dsray.models.configs import ARCHITECTURES

NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "dpgan" and importlib.util.find_spec("opacus") is None, reason="needs the extra 'dp' (Opacus)"
        ),
    )
    for name in sorted(ARCHITECTURES.values())
]


def begin(name, bars, seed=1, **changes):
    architecture = models.architecture(name)
    config = replace(architecture.PRESETS["tiny"], images=32 * 8, **changes)
    return config, architecture.start(config, *bars, 3, seed, "cpu")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", NAMES)
def test_killed_after_any_checkpoint_and_resumed_is_bit_equal(name, bars):
    kept = {}

    def save(step, state):
        kept[step] = {name: tensor.clone() for name, tensor in state.items()}

    _, training = begin(name, bars)
    whole = loop.train(training, save=save, checkpoints=4)
    assert list(kept) == [2, 4, 6, 8]
    for saved in kept.items():
        _, again = begin(name, bars)
        assert equal(loop.train(again, saved=saved), whole)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_the_seed_decides(name, bars):
    _, training = begin(name, bars)
    first = loop.train(training)
    assert equal(loop.train(begin(name, bars)[1]), first)
    assert not equal(loop.train(begin(name, bars, seed=2)[1]), first)


class Mean:
    """An all-reduce between threads: each waits for the others, then all have the mean."""

    def __init__(self, world):
        self.barrier, self.world, self.given = threading.Barrier(world, timeout=60), world, [None] * world

    def of(self, rank):
        def reduce(x):
            self.given[rank] = x.clone()
            self.barrier.wait()
            mean = torch.stack(self.given).mean(0)
            self.barrier.wait()
            return mean

        return reduce


def lockstep(name, bars, world, **changes):
    """Trains on `world` threads at once → (weights of rank 0, state of each rank)."""
    mean, weights, states = Mean(world), [None] * world, [None] * world
    trainings = [begin(name, bars, **changes)[1] for _ in range(world)]  # here: threads share torch's generator

    def work(rank):
        torch.set_num_threads(1)
        training = trainings[rank]
        weights[rank] = loop.train(training, rank=rank, world=world, reduce=mean.of(rank))
        states[rank] = training.state()

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return weights[0], states


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("world", [2, 3])
def test_workers_in_lockstep_make_what_one_makes(name, world, bars):
    _, alone = begin(name, bars, rate_start=1e-4, rate_end=1e-4)
    loop.train(alone)
    _, states = lockstep(name, bars, world, rate_start=1e-4, rate_end=1e-4)
    assert all(equal(state, states[0]) for state in states)
    start = begin(name, bars)[1].state()
    for key, expected in alone.state().items():
        if "." in key:
            continue  # Adam's moments; the vectors that follow from them are compared
        moved = (expected - start[key]).abs().mean()
        assert (states[0][key] - expected).abs().mean() < 0.02 * moved, key


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_the_same_in_any_company_and_order(name, bars):
    architecture = models.architecture(name)
    config, training = begin(name, bars)
    weights = loop.train(training)
    indices = np.arange(150)
    labels = indices % 3
    whole = draw.sample(architecture, config, weights, labels, indices, 9, "cpu")
    assert whole.shape == (150, 12, 12, 1) and whole.dtype == np.uint8
    shuffled = np.random.default_rng(0).permutation(150)
    for part in (shuffled, indices[:1], indices[60:70], indices[::7], np.array([5, 5, 149])):
        assert np.array_equal(draw.sample(architecture, config, weights, labels[part], part, 9, "cpu"), whole[part])
    assert not np.array_equal(draw.sample(architecture, config, weights, labels, indices, 10, "cpu"), whole)
    assert len(np.unique(whole.reshape(150, -1), axis=0)) == 150


@pytest.mark.parametrize("name", NAMES)
def test_weights_can_be_sampled_before_training_ends_and_survive_safetensors(name, bars):
    from safetensors.torch import load, save

    config, training = begin(name, bars)
    training.step(0, 0, 1, loop.alone)
    weights = load(save(training.weights()))
    images = draw.sample(models.architecture(name), config, weights, np.zeros(2, int), np.arange(2), 1, "cpu")
    assert images.shape == (2, 12, 12, 1)
    assert load(save(training.state())).keys() == training.state().keys()


class Scripted:
    """A training whose losses are given."""

    batch = 10

    def __init__(self, values):
        self.steps, self.values, self.done = len(values), values, []

    def step(self, step, rank, world, reduce):
        self.done.append(step)
        return {"loss": self.values[step]}

    def state(self):
        return {}

    def load(self, state):
        pass

    def weights(self):
        return {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_training_and_names_itself(bad):
    training = Scripted([1.0, 1.0, bad, 1.0])
    with pytest.raises(DsrayError, match=r"step 2: loss is (nan|inf)"):
        loop.train(training)
    assert training.done == [0, 1, 2]


@pytest.mark.parametrize("steps", [1, 3, 101, 250])
def test_reports_and_checkpoints_cover_the_steps(steps):
    told, saved = [], []
    training = Scripted([0.5] * steps)
    loop.train(training, report=told.append, save=lambda step, state: saved.append(step), checkpoints=4)
    assert saved[-1] == steps and len(saved) == min(4, steps)
    at = [0, *(int(news["step"]) for news in told)]
    assert set(saved) <= set(at) and at[-1] == steps and max(b - a for a, b in pairwise(at)) <= 50
    assert all(
        news["images"] == 10 * news["step"] and news["images_per_s"] > 0 and news["loss"] == 0.5 for news in told
    )


def test_a_complete_run_takes_no_step():
    complete = Scripted([1.0] * 3)
    loop.train(complete, saved=(3, {}))
    assert complete.done == []


def test_more_workers_than_images_in_a_batch_are_refused():
    with pytest.raises(DsrayError, match="11 workers cannot share a batch of 10"):
        loop.train(Scripted([1.0]), world=11)
