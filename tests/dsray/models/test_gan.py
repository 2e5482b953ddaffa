import numpy as np
import torch

from dsray.models import draw, gan, loop, losses


def test_it_learns_the_classes(bars):
    config = gan.Config(images=32 * 80, batch=32, latent=6, width=16, embedding=4, rate_start=3e-3, ema_images=500)
    training = gan.start(config, *bars, 3, 1, "cpu")
    weights = loop.train(training)
    labels = np.arange(60) % 3
    columns = draw.sample(gan, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3)).reshape(60, 3, 4).mean(2)
    assert (columns.argmax(1) == labels).mean() > 0.9


def test_the_logit_is_the_projection_on_the_class(bars):
    config = gan.PRESETS["tiny"]
    critic = gan.Discriminator(config, (12, 12, 1), 3)
    images, labels = torch.randn(3, 1, 12, 12), torch.tensor([2, 0, 1])
    features = critic.read(images)
    expected = torch.stack([f @ critic.classes.weight[c] for f, c in zip(features, labels, strict=True)])
    torch.testing.assert_close(critic(images, labels), expected / (2 * config.embedding) ** 0.5)


def test_the_average_lies_between_the_start_and_the_last_weights(bars):
    config = gan.Config(images=32 * 6, batch=32, latent=6, width=16, embedding=4, ema_images=1e6)
    training = gan.start(config, *bars, 3, 1, "cpu")
    start = training.average_P.clone()
    loop.train(training)
    assert 0 < (training.average_P - start).norm() < 0.1 * (training.g.vector_P - start).norm()


def test_a_step_follows_the_gradients_of_the_stated_losses(bars):
    config = gan.Config(images=64, batch=32, latent=6, width=16, embedding=4, gamma_start=0.7)
    training, again = (gan.start(config, *bars, 3, 1, "cpu") for _ in range(2))
    seen = []
    training.step(0, 0, 1, lambda x: seen.append(x.clone()) or x)

    places = again.feed.places(0, 0, 1)
    (real, classes), noise = again.feed.rows(places), again.feed.noise(places, config.latent)
    real, fake = real.requires_grad_(), again.generator(noise, classes)
    real_B, fake_B = again.discriminator(real, classes), again.discriminator(fake, classes)
    penalties = [losses.gradient_penalty(*pair).mean() for pair in ((real_B, real), (fake_B, fake))]
    loss_d = losses.relativistic_d_loss(real_B, fake_B).mean()
    of_d = torch.autograd.grad(loss_d + 0.7 / 2 * sum(penalties), again.d.parameters)
    again.d.vector_P.copy_(training.d.vector_P)  # the generator follows the discriminator that has learned
    fake = again.generator(noise, classes)
    loss_g = losses.relativistic_g_loss(again.discriminator(real, classes), again.discriminator(fake, classes)).mean()
    of_g = torch.autograd.grad(loss_g, again.g.parameters)
    for mine, gradients, told in zip(seen, (of_d, of_g), ([loss_d, *penalties], [loss_g]), strict=True):
        expected = torch.cat([*(g.flatten() for g in gradients), torch.stack(told)]).detach()
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-6)
