import numpy as np
import pytest
import torch
from scipy import stats

from dsray.models import draw, hvae, logistic, loop
from dsray.models.feed import to_float


def begin(bars, **changes):
    said = {"images": 32 * 60, "batch": 32, "latent": 2, "width": 16, "blocks": 1, "embedding": 4, "components": 2}
    config = hvae.Config(**{**said, **changes})
    return config, hvae.start(config, *bars, 3, 1, "cpu")


def test_it_learns_the_classes_and_its_bits_fall(bars):
    config, training = begin(bars, rate_start=3e-3)
    before = hvae.bits_per_dim(config, training.weights(), *bars, 0)
    weights = loop.train(training)
    assert hvae.bits_per_dim(config, weights, *bars, 0) < before - 1
    labels = np.arange(60) % 3
    columns = draw.sample(hvae, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3)).reshape(60, 3, 4).mean(2)
    assert (columns.argmax(1) == labels).mean() > 0.9


def test_bits_of_a_model_that_knows_nothing_are_those_of_one_logistic(bars):
    """All weights 0: the posterior is the prior, and every pixel has the likelihood of the biases."""
    config, training = begin(bars, components=1)
    weights = {name: torch.zeros_like(tensor) for name, tensor in training.weights().items()}
    weights["shape"] = training.weights()["shape"]
    of = stats.logistic(127.5, np.exp(3.0))
    x = bars[0].astype(float)
    mass = np.where(x < 255, of.cdf(x + 0.5), 1) - np.where(x > 0, of.cdf(x - 0.5), 0)
    assert hvae.bits_per_dim(config, weights, *bars, 0) == pytest.approx(-np.log2(mass).mean(), rel=1e-4)


def test_at_the_start_the_posterior_is_the_prior(bars):
    _, training = begin(bars)
    real, class_B = training.feed.rows(np.arange(8))
    noise = training.feed.noise(np.arange(8), sum(training.net.groups))
    _, kl_B = training.net.nats(real, class_B, noise)
    assert kl_B.tolist() == [0.0] * 8
    drawn, _ = training.net.down(noise, class_B)
    assert torch.equal(training.net.down(noise, class_B, training.net.climb(real))[0], drawn)


def test_the_kl_is_the_mean_of_what_the_densities_say_of_the_latents(bars):
    """The closed form against log q(z) - log p(z) of 400 draws."""
    _, training = begin(bars)
    net, told = training.net, []
    real, class_B = (x[:1].expand(400, *x.shape[1:]) for x in training.feed.rows(np.arange(1)))
    noise = training.feed.noise(np.arange(400), sum(net.groups))
    with torch.no_grad():
        for group in (group for level in net.levels for group in level):
            group.answer.weight.normal_(0, 0.1)
            group.posterior = lambda *asked, plain=group.posterior: told.append(plain(*asked)) or told[-1]
        _, kl_B = net.nats(real, class_B, noise)
    sampled_B = torch.zeros(400)
    for (mean, log_variance), eps in zip(told, noise.split(net.groups, 1), strict=True):
        z = mean + (0.5 * log_variance).exp() * eps.view(mean.shape)
        sampled_B += 0.5 * (z.square() - eps.view(mean.shape).square() - log_variance).flatten(1).sum(1)
    assert kl_B.mean() > 1
    assert (sampled_B - kl_B).mean().abs() < 4 * (sampled_B - kl_B).std() / 400**0.5


def test_levels_survive_the_scale_of_the_networks():
    levels = torch.arange(256).to(torch.uint8)
    assert torch.equal(((to_float(levels) + 1) * 127.5).round(), torch.arange(float(logistic.LEVELS)))
