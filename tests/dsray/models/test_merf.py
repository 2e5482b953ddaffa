from dataclasses import replace

import numpy as np
import pytest
import torch

from dsray.errors import DsrayError, RecipeError
from dsray.models import draw, loop, merf
from dsray.models.noise import VARIABLE
from dsray.models.privacy import sigma_of, spent

TINY = merf.PRESETS["tiny"]


def many(bars, times=40):
    """Enough rows that noise leaves something to learn."""
    return np.tile(bars[0], (times, 1, 1, 1)), np.tile(bars[1], times)


def test_it_learns_the_classes_at_epsilon_1(bars):
    config = replace(TINY, images=32 * 60, epsilon=1.0, delta=1e-4)
    training = merf.start(config, *many(bars), 3, 1, "cpu")
    told = []
    weights = loop.train(training, report=told.append)
    assert told[-1]["distance"] < told[0]["distance"]
    labels = np.arange(60) % 3
    columns = draw.sample(merf, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3)).reshape(60, 3, 4).mean(2)
    assert (columns.argmax(1) == labels).mean() > 0.9


def test_what_was_spent_is_in_state_weights_and_reports(bars):
    config = replace(TINY, images=64, epsilon=3.0)
    training = merf.start(config, *bars, 3, 1, "cpu")
    told = training.step(0, 0, 1, loop.alone)
    assert told["epsilon"] == pytest.approx(3.0) and training.sigma == sigma_of(3.0, config.delta)
    for state in (training.state(), training.weights()):
        assert spent(state) == {"epsilon": pytest.approx(3.0), "delta": config.delta, "sigma": training.sigma}
    assert spent({"shape": torch.zeros(1)}) is None


def test_no_row_is_looked_at_after_the_sums(bars):
    """Training goes on from the noisy sums alone: with other rows in the feed it makes the same."""
    config = replace(TINY, images=32 * 6)
    first = merf.start(config, *bars, 3, 1, "cpu")
    other = merf.start(config, 255 - bars[0], bars[1], 3, 1, "cpu")
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    assert not torch.equal(state["private.sums"], other.state()["private.sums"])
    expected, made = loop.train(first), loop.train(other, saved=lambda: [(0, state)])
    assert all(torch.equal(made[name], expected[name]) for name in expected)


def test_noise_is_new_each_time_and_of_the_promised_size(bars, monkeypatch):
    config = replace(TINY, frequencies=300)
    monkeypatch.delenv(VARIABLE)
    one, two = (merf.start(config, *bars, 3, 1, "cpu") for _ in range(2))
    apart = (one.sums_KQ - two.sums_KQ) / one.sigma
    assert float(apart.std()) == pytest.approx(2**0.5, rel=0.06)


def test_the_surrogates_gradient_is_that_of_the_unbiased_distance(bars):
    config = replace(TINY, batch=12)
    training = merf.start(config, *bars, 3, 1, "cpu")
    caught = []
    keep = training.flat.update
    training.flat.update = lambda gradient, rate, step: (caught.append(gradient.clone()), keep(gradient, 0.0, step))
    training.step(0, 0, 1, loop.alone)
    places = training.feed.places(0, 0, 1)
    made = training.net(training.feed.noise(places, config.latent), torch.from_numpy(places % 3))
    waves = training.embedding.waves((made + 1) / 2)
    loss = 0
    for number in range(3):
        mine = waves[places % 3 == number]
        same = mine @ mine.T
        loss = loss + (same.sum() - same.diagonal().sum()) / 12 - 2 * (mine.mean(0) @ training.target_KF[number])
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss / 3, training.flat.parameters)])
    torch.testing.assert_close(caught[0], expected, rtol=1e-3, atol=1e-5)


def test_a_promise_that_is_none_is_refused(bars):
    with pytest.raises(DsrayError, match="protects nobody among 90 rows"):
        merf.start(replace(TINY, delta=0.02), *bars, 3, 1, "cpu")
    with pytest.raises(RecipeError, match="no privacy"):
        merf.start(replace(TINY, epsilon=0.0), *bars, 3, 1, "cpu")
