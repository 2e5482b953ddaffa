from itertools import pairwise

import numpy as np
import torch

from dsray.models import draw, flow, loop, vaeflow


def begin(bars, **changes):
    said = {"images": 32 * 200, "batch": 32, "latent": 6, "width": 16, "embedding": 4, "flow_width": 64,
            "ema_images": 500.0, "flow_share": 0.6, "solver_steps": 8}  # fmt: skip
    config = vaeflow.Config(**{**said, **changes})
    return config, vaeflow.start(config, *bars, 3, 1, "cpu")


def test_it_learns_the_classes(bars):
    config, training = begin(bars)
    weights = loop.train(training)
    labels = np.arange(60) % 3
    columns = draw.sample(vaeflow, config, weights, labels, np.arange(60), 3, "cpu").mean((1, 3))
    assert (columns.reshape(60, 3, 4).mean(2).argmax(1) == labels).mean() > 0.9
    with torch.no_grad():  # the flow has carried each class's noise to where the encoder puts its rows
        real, class_B = training.feed.rows(np.arange(90))
        mean_BZ, _ = training.frozen.encode(real)
        noise_BZ = torch.from_numpy(vaeflow.latents(config, weights, labels, np.arange(90), 1)).float()
        there_BZ = flow.carried(vaeflow.painter(config, weights, "cpu").carry, noise_BZ, class_B, 8)
    expected, before, after = (
        torch.stack([z[class_B == number].mean(0) for number in range(3)]) for z in (mean_BZ, noise_BZ, there_BZ)
    )
    assert (after - expected).norm() < 0.4 * (before - expected).norm()


def test_the_flow_is_trained_last_and_on_an_encoder_that_stands_still(bars):
    _, training = begin(bars, images=32 * 10, flow_share=0.3)
    told, vectors = [], []
    for step in range(training.steps):
        told.append(set(training.step(step, 0, 1, loop.alone)))
        vectors.append((training.vae.average_P.clone(), training.flat.vector_P.clone()))
    assert [news == {"flow"} for news in told] == [False] * 7 + [True] * 3
    for (vae, velocity), (vae_next, velocity_next) in pairwise(vectors):
        assert torch.equal(vae, vae_next) != torch.equal(velocity, velocity_next)
