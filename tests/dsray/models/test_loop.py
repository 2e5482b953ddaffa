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


class Kept:
    """Checkpoints in memory, newest first, as a lake keeps them."""

    def __init__(self):
        self.states, self.shown, self.turns, self.begun = {}, [], [], []

    def save(self, step, state):
        self.states[len(loop.Past.of(state).turns), step] = state

    def show(self, step, weights):
        self.shown.append(step)

    def saved(self):
        return ((step, state) for (_, step), state in sorted(self.states.items(), reverse=True))

    def resumed(self, step, state, turn):
        self.begun.append(step)
        self.turns += [turn] if turn else []

    def of(self, step):
        """What a run finds that was killed after this checkpoint."""
        return {"saved": lambda: [(at, state) for at, state in self.saved() if at <= step]}

    def keywords(self):
        return {"saved": self.saved, "save": self.save, "show": self.show, "resumed": self.resumed}


@pytest.mark.parametrize("name", NAMES)
def test_killed_after_any_checkpoint_and_resumed_is_bit_equal(name, bars):
    kept = Kept()
    whole = loop.train(begin(name, bars)[1], save=kept.save)
    assert [step for _, step in kept.states] == [1, 2, 3, 4, 5, 6, 7, 8]
    for step in (1, 5, 8):
        assert equal(loop.train(begin(name, bars)[1], **kept.of(step)), whole)


def test_when_checkpoints_are_made_changes_nothing(bars):
    """A clock on which every step takes minutes makes one after each: the same ones, and the same weights."""
    sparse, dense, minutes = Kept(), Kept(), iter(range(0, 10**9, 200))
    architecture = models.architecture("gan")
    config = replace(architecture.PRESETS["tiny"], images=32 * 24)
    whole = loop.train(architecture.start(config, *bars, 3, 1, "cpu"), **sparse.keywords())
    again = architecture.start(config, *bars, 3, 1, "cpu")
    assert equal(loop.train(again, **dense.keywords(), clock=lambda: next(minutes)), whole)
    assert len(sparse.states) == 8 and len(dense.states) == 24
    assert all(equal(dense.states[place], state) for place, state in sparse.states.items())


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


def lockstep(name, bars, world, keywords=dict, **changes):
    """Trains on `world` threads at once → (weights of rank 0, state of each rank)."""
    mean, weights, states = Mean(world), [None] * world, [None] * world
    trainings = [begin(name, bars, **changes)[1] for _ in range(world)]  # here: threads share torch's generator

    def work(rank):
        torch.set_num_threads(1)
        training = trainings[rank]
        weights[rank] = loop.train(training, rank=rank, world=world, reduce=mean.of(rank), **keywords())
        states[rank] = training.state()

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return weights[0], states


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_workers_in_lockstep_make_what_one_makes(name, world, bars):
    _, alone = begin(name, bars, rate_start=1e-4, rate_end=1e-4)
    loop.train(alone)
    _, states = lockstep(name, bars, world, rate_start=1e-4, rate_end=1e-4)
    assert all(equal(state, states[0]) for state in states)
    assert_near(states[0], alone.state(), begin(name, bars)[1].state())


def assert_near(state, expected, start):
    """The same up to the order of sums: the difference is small beside the way that was gone."""
    for key, vector in expected.items():
        if "." in key:
            continue  # Adam's moments; the vectors that follow from them are compared
        moved = (vector - start[key]).abs().mean()
        assert (state[key] - vector).abs().mean() < 0.02 * moved, key


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_workers_may_leave_and_join(name, bars):
    """2, then 1, then 2 workers, each going on from the last checkpoint of those before."""
    rates = {"rate_start": 1e-4, "rate_end": 1e-4}
    alone, two, one = begin(name, bars, **rates)[1], Kept(), Kept()
    loop.train(alone)
    lockstep(name, bars, 2, two.keywords, **rates)
    loop.train(begin(name, bars, **rates)[1], **{**one.keywords(), **two.of(3)})
    _, states = lockstep(name, bars, 2, lambda: one.of(6), **rates)
    assert equal(*states)
    assert_near(states[0], alone.state(), begin(name, bars)[1].state())


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
    """A training whose losses are given: of (attempt, step), else 0.5. Its state is the sum of what its steps were."""

    batch, once = 10, False

    def __init__(self, steps, losses=(), collapses=()):
        self.steps, self.losses, self.collapses = steps, dict(losses), collapses
        self.sum, self.done, self.part = torch.zeros(1, dtype=torch.float64), [], Part()

    def step(self, step, rank, world, reduce):
        self.done.append(step)
        reduce(torch.zeros(1))
        self.sum += (step + 1) * 1000**self.part.attempt
        return {"loss": self.losses.get((self.part.attempt, step), 0.5)}

    def collapsed(self, told):
        return (self.part.attempt, self.done[-1]) in self.collapses

    def state(self):
        return {"sum": self.sum}

    def load(self, state):
        self.sum.copy_(state["sum"])

    def weights(self):
        return {"sum": self.sum.clone()}


class Part:
    attempt = 0


NAN = float("nan")


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_loss_that_is_no_number_turns_back_twice_and_then_stops(bad):
    training, kept = Scripted(16, {(attempt, 9): bad for attempt in range(3)}), Kept()
    with pytest.raises(DsrayError, match=r"step 10: loss is (nan|inf)"):
        loop.train(training, **kept.keywords())
    assert training.done == [*range(10), 8, 9, 8, 9]
    assert kept.turns == [(10, 8, f"loss is {bad}")] * 2


def test_what_privacy_was_spent_on_is_never_undone():
    training = Scripted(16, {(0, 9): NAN})
    training.once = True
    with pytest.raises(DsrayError, match="step 10"):
        loop.train(training)
    assert training.done == [*range(10)]


def test_weights_that_are_no_numbers_are_seen_at_an_anchor():
    training, kept = Scripted(16), Kept()
    plain = training.step

    def step(number, *rest):
        told = plain(number, *rest)
        training.sum += NAN if (number, training.part.attempt) == (4, 0) else 0
        return told

    training.step = step
    loop.train(training, **kept.keywords())
    assert kept.turns == [(6, 4, "sum has weights that are no numbers")]
    assert all(torch.isfinite(state["sum"]).all() for state in kept.states.values())


def test_a_discriminator_that_tells_nothing_for_long_is_turned_back_from_before_it_began():
    quiet = {(0, step) for step in range(450, 700)}
    training, kept = Scripted(1600, collapses=quiet), Kept()
    loop.train(training, **kept.keywords())
    assert kept.turns == [(550, 400, "the discriminator has told the generator nothing for 100 steps")]
    briefly = Scripted(1600, collapses={(0, step) for step in range(1600) if step % 100})
    loop.train(briefly)
    assert briefly.done == [*range(1600)]


def test_a_gan_has_collapsed_when_its_discriminator_has_no_slope(bars):
    _, training = begin("gan", bars)
    assert not training.collapsed(training.step(0, 0, 1, loop.alone))
    assert training.collapsed({"r2": 0.2, "d_loss": 1e-5})  # all pairs told apart
    training.d.vector_P.zero_()
    assert training.collapsed(training.step(1, 0, 1, loop.alone))


BROKEN = {(0, 9): NAN, (1, 13): NAN}
"""Breaks at step 10, goes back to 8; breaks again at 14, goes back to 12."""


def test_a_training_that_broke_is_a_function_of_its_past_alone():
    """Killed anywhere, with any checkpoints or none, it goes the same way."""
    kept = Kept()
    expected = loop.train(Scripted(16, BROKEN), **kept.keywords())
    assert [turn.to for turn in kept.turns] == [8, 12]
    assert float(expected["sum"]) == sum(range(1, 9)) + 1e3 * sum(range(9, 13)) + 1e6 * sum(range(13, 17))
    assert equal(loop.train(Scripted(16, BROKEN)), expected)
    places = sorted(kept.states)
    for last in places:
        for lost in [(), *((place,) for place in places)]:
            there = Kept()
            there.states = {place: kept.states[place] for place in places if place <= last and place not in lost}
            assert equal(loop.train(Scripted(16, BROKEN), **there.keywords()), expected), (last, lost)


def test_ranks_go_back_to_the_same_step_whatever_they_find():
    mean, kept, done = Mean(2), Kept(), []

    def work(rank):
        training = Scripted(16, BROKEN)
        mine = kept.keywords() if rank == 0 else {"saved": kept.saved}
        done.append(loop.train(training, rank=rank, world=2, reduce=mean.of(rank), **mine))

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert equal(*done) and equal(done[0], loop.train(Scripted(16, BROKEN)))


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_another_attempt_has_other_noise_and_half_the_rate(name, bars):
    moved = []
    for attempt in (0, 1):
        _, training = begin(name, bars)
        loop._tell(training, attempt)
        before = {key: tensor.clone() for key, tensor in training.state().items()}
        training.step(0, 0, 1, loop.alone)
        moved.append({key: training.state()[key] - before[key] for key in before if "." not in key})
    for key in moved[0]:
        ratio = moved[1][key].abs().mean() / moved[0][key].abs().mean()
        assert 0.4 < ratio < 0.6, key  # Adam's first step is as long as the rate, whatever the gradient
        assert not torch.allclose(moved[1][key], moved[0][key] / 2, atol=0), key


@pytest.mark.parametrize("steps", [1, 3, 101, 250])
def test_reports_and_checkpoints_cover_the_steps(steps):
    told, kept = [], Kept()
    loop.train(Scripted(steps), report=told.append, save=kept.save, show=kept.show)
    saved = [step for _, step in kept.states]
    assert saved[-1] == kept.shown[-1] == steps and len(saved) == min(8, steps) and len(kept.shown) == min(4, steps)
    at = [0, *(int(news["step"]) for news in told)]
    assert set(saved) <= set(at) and at[-1] == steps and max(b - a for a, b in pairwise(at)) <= 50
    assert all(
        news["images"] == 10 * news["step"] and news["images_per_s"] > 0 and news["loss"] == 0.5 for news in told
    )


def test_only_the_first_of_the_workers_saves():
    loop.train(Scripted(4), rank=1, save=lambda step, state: pytest.fail("it is not the first"))


def test_steps_go_on_while_a_checkpoint_is_written_and_its_error_is_raised():
    training, reached, wrote = Scripted(64), threading.Event(), []
    plain = training.step

    def step(number, *rest):
        if number == 15:
            reached.set()  # seven steps after the first anchor, whose writing waits for this
        return plain(number, *rest)

    def save(number, state):
        if number == 8:
            assert reached.wait(30), "no step was taken while it wrote"
            assert float(state["sum"]) == sum(range(1, 9))  # as it was, not as it is
        wrote.append(number)
        if number == 48:
            raise DsrayError("The lake is full.")

    training.step = step
    with pytest.raises(DsrayError, match="full"):
        loop.train(training, save=save)
    assert wrote == [8, 16, 24, 32, 40, 48] and training.done[-1] < 64


def test_a_complete_run_takes_no_step():
    complete = Scripted(3)
    loop.train(complete, saved=lambda: [(3, {"sum": torch.ones(1, dtype=torch.float64)})])
    assert complete.done == []


def test_more_workers_than_images_in_a_batch_are_refused():
    with pytest.raises(DsrayError, match="11 workers cannot share a batch of 10"):
        loop.train(Scripted(1), world=11)
