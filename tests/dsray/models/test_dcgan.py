import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dsray.models import dcgan, draw, loop


def test_it_learns_the_classes(bars):
    config = dcgan.Config(images=32 * 80, batch=32, latent=6, width=16, rate_start=2e-3, rate_end=2e-3)
    weights = loop.train(dcgan.start(config, *bars, 3, 1, "cpu"))
    labels = np.arange(60) % 3
    columns = draw.sample(dcgan, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3)).reshape(60, 3, 4)
    assert (columns.mean(2).argmax(1) == labels).mean() > 0.9


def test_two_workers_with_the_same_rows_normalise_as_one_with_them_twice():
    torch.manual_seed(0)
    norm = dcgan.BatchNorm(3).double()
    norm.company = (lambda x: x, 2)  # the mean over both is what either has
    x = (2 + torch.randn(4, 3, 5, 5, dtype=torch.float64)).requires_grad_()
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    twice = F.batch_norm(torch.cat([x, x]), mean, variance, norm.scale, norm.shift, training=True)
    once = norm(x)
    torch.testing.assert_close(torch.cat([once, once]), twice)
    torch.testing.assert_close(norm.mean_C, mean)
    torch.testing.assert_close(norm.variance_C, variance)
    slope, of = torch.randn_like(x), (x, norm.scale, norm.shift)
    mine = torch.autograd.grad(once, of, slope)
    both = torch.autograd.grad(twice, of, torch.cat([slope, slope]))
    torch.testing.assert_close(mine, tuple(gradient / 2 for gradient in both))


@pytest.mark.parametrize("shape", [(28, 28, 1), (30, 17, 3), (9, 9, 1), (64, 64, 3)])
def test_any_size_can_be_painted_and_judged(shape):
    height, width, channels = shape
    config, classes = dcgan.PRESETS["tiny"], torch.tensor([1, 0])
    images = dcgan.Generator(config, shape, 2)(torch.randn(2, config.latent), classes)
    assert images.shape == (2, channels, height, width) and images.abs().max() <= 1
    assert dcgan.Discriminator(config, shape, 2)(images, classes).shape == (2,)


def test_sampling_uses_the_averages_of_training(bars):
    config = dcgan.PRESETS["tiny"]
    training = dcgan.start(config, *bars, 3, 1, "cpu")
    for step in range(3):
        training.step(step, 0, 1, loop.alone)
    weights, request = training.weights(), (np.zeros(4, int), np.arange(4), 1, "cpu")
    assert all(weights[name].abs().sum() > 0 for name in weights if name.endswith("mean_C"))
    expected = draw.sample(dcgan, config, weights, *request)
    weights["norms.0.mean_C"] = weights["norms.0.mean_C"] + 1.0
    assert not np.array_equal(draw.sample(dcgan, config, weights, *request), expected)
