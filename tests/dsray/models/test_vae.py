import numpy as np
import pytest
import torch

from dsray.models import draw, loop, vae
from dsray.models.speed import Speed


def fitted(bars, **changes):
    config = vae.Config(
        **{"images": 32 * 60, "batch": 32, "latent": 6, "width": 16, "embedding": 4, "components": 2, **changes}
    )
    training = vae.start(config, *bars, 3, 1, "cpu")
    told = []
    return config, loop.train(training, report=told.append), told


def test_it_learns_the_classes(bars):
    config, weights, told = fitted(bars)
    assert told[-1]["loss"] < told[0]["loss"] and told[-1]["sigma"] < told[0]["sigma"]
    labels = np.arange(60) % 3
    columns = draw.sample(vae, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3)).reshape(60, 3, 4).mean(2)
    assert (columns.argmax(1) == labels).mean() > 0.9


def test_latents_come_from_the_mixture_of_their_class(bars):
    config, weights, _ = fitted(bars)
    labels = np.arange(3000) % 3
    z = vae.latents(config, weights, labels, np.arange(3000), 0)
    for number in range(3):
        weight_K, mean_KD = weights["prior.weight"][number].numpy(), weights["prior.mean"][number].numpy()
        np.testing.assert_allclose(z[labels == number].mean(0), weight_K @ mean_KD, atol=0.15)


def test_a_component_needs_rows(bars):
    """30 rows of a class are enough for 30 / (2 · 4) components, one row for one."""
    images, labels = bars
    few = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]])
    config = vae.Config(images=64, batch=32, latent=4, width=16, embedding=4, components=5)
    weights = vae.start(config, images[few], labels[few], 3, 1, "cpu").weights()
    assert (weights["prior.weight"] > 0).sum(1).tolist() == [3, 1, 1]


def test_a_class_without_rows_and_one_with_a_single_row_can_be_sampled(bars):
    images, labels = bars
    few = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:1]])
    config = vae.Config(images=64, batch=32, latent=4, width=16, embedding=4, components=3)
    training = vae.start(config, images[few], labels[few], 3, 1, "cpu")
    made = draw.sample(vae, config, loop.train(training), np.arange(9) % 3, np.arange(9), 1, "cpu")
    assert made.shape == (9, 12, 12, 1)


def test_what_lies_under_the_free_nats_costs_nothing(bars):
    """With a floor above all, a step is that of a reconstruction without any KL."""
    changes = {"images": 64, "batch": 32, "latent": 4, "width": 16, "embedding": 4}
    floored = vae.Config(**changes, free_nats=1e9, warm_up=1e-9)
    unweighted, ordinary = vae.Config(**changes, warm_up=1e30), vae.Config(**changes, free_nats=0.0, warm_up=1e-9)
    vectors = []
    for config in (floored, unweighted, ordinary):
        training = vae.start(config, *bars, 3, 1, "cpu")
        training.step(1, 0, 1, loop.alone)
        vectors.append(training.flat.vector_P)
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2])


def test_half_precision_and_one_kernel_make_the_same_step_up_to_rounding(bars):
    config = vae.PRESETS["tiny"]
    plain, half, fused = (
        vae.start(config, *bars, 3, 1, "cpu", pace).step(0, 0, 1, loop.alone)
        for pace in (Speed(), Speed(half=True), Speed(fused=True))
    )
    assert fused == plain
    assert half != plain and half == pytest.approx(plain, rel=0.05)
