import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsray.models import draw, loop, losses, r3gan
from dsray.models.speed import Speed, best

TINY = r3gan.PRESETS["tiny"]
PLAIN = best("cpu")


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "side", "millions"), [("r3gan-32", 32, 21), ("r3gan-64", 64, 22), ("r3gan-256", 256, 23)]
)
def test_the_networks_are_as_large_as_the_papers(name, side, millions):
    """Table 9 of arXiv:2501.05441, in millions of parameters."""
    with torch.device("meta"):
        for kind in (r3gan.Generator, r3gan.Discriminator):
            size = parameters(kind(r3gan.PRESETS[name], (side, side, 3), 10, PLAIN))
            assert abs(size / 1e6 - millions) < 0.6


def test_schedules_are_the_papers_at_both_ends_and_know_only_the_images_seen():
    config = r3gan.PRESETS["r3gan-32"]
    first, last = r3gan.dials(config, 0), r3gan.dials(config, math.ceil(20e6 / 512))
    assert first[1:] == (2e-4, 0.9, 0.05, 1.0, 0.0)
    assert last[1:] == pytest.approx((5e-5, 0.99, 0.005, 1 - 0.5 ** (512 / 5e6), 0.55))
    half = replace(config, batch=256)
    assert r3gan.dials(half, 2000)[1:4] == r3gan.dials(config, 1000)[1:4]


@pytest.mark.parametrize("shape", [(4, 4), (6, 8)])
def test_resampling_is_the_filter_121_along_both_axes(shape):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *shape)
    edged = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([1.0, 2.0, 1.0])
    weight = (kernel[:, None] * kernel / 16).expand(3, 1, 3, 3)
    smaller = torch.nn.functional.conv2d(edged, weight, stride=2, groups=3)
    torch.testing.assert_close(r3gan.smaller(x), smaller)
    larger = r3gan.larger(x)
    torch.testing.assert_close(larger[:, :, ::2, ::2], x)
    torch.testing.assert_close(larger[:, :, 1::2, ::2][:, :, :-1], (x[:, :, 1:] + x[:, :, :-1]) / 2)
    torch.testing.assert_close(larger[:, :, :, -1], larger[:, :, :, -2])


def test_a_block_starts_as_nothing_and_its_branch_is_scaled_by_its_depth():
    torch.manual_seed(0)
    shallow, deep = r3gan.Block(64, 16, 1), r3gan.Block(64, 16, 16)
    x = torch.randn(2, 64, 4, 4)
    assert torch.equal(deep(x), x)
    for layer in ("widen", "look"):
        ratio = getattr(deep, layer).weight.std() / getattr(shallow, layer).weight.std()
        assert ratio.item() == pytest.approx(0.5, rel=0.05)


def test_the_logit_is_the_projection_on_the_class(bars):
    critic = r3gan.Discriminator(TINY, (12, 12, 1), 3, PLAIN)
    images, labels = torch.randn(3, 1, 12, 12), torch.tensor([2, 0, 1])
    with torch.no_grad():
        logits = critic(images, labels)
        critic.classes.weight[0] *= 2
        torch.testing.assert_close(critic(images, labels), logits * torch.tensor([1.0, 2.0, 1.0]))


def test_parts_of_a_batch_make_what_the_whole_makes(bars):
    config = replace(TINY, rate_start=1e-4, rate_end=1e-4)
    whole, parts = (r3gan.start(replace(config, at_once=n), *bars, 3, 1, "cpu") for n in (32, 12))
    start = whole.g.vector_P.clone()
    told = [[t.step(step, 0, 1, loop.alone) for step in range(3)] for t in (whole, parts)]
    assert told[0] == [pytest.approx(one, rel=1e-3, abs=1e-5) for one in told[1]]
    for a, b in ((whole.g, parts.g), (whole.d, parts.d)):
        assert (a.vector_P - b.vector_P).abs().mean() < 0.02 * 3e-4
    assert (whole.g.vector_P - start).abs().mean() > 1e-5


def test_one_step_is_the_papers_objective(bars):
    """Against automatic differentiation twice, without parts or flat vectors."""
    config = replace(TINY, augment=0.0)
    training = r3gan.start(config, *bars, 3, 1, "cpu")
    real, class_B, z_BZ, numbers = training.inputs(0, 0, 1)
    critic, fake = training.discriminator, training.generator(z_BZ, class_B).detach().requires_grad_()
    real.requires_grad_()
    real_B, fake_B = critic(real, class_B), critic(fake, class_B)
    (slope_real,) = torch.autograd.grad(real_B.sum(), real, create_graph=True)
    (slope_fake,) = torch.autograd.grad(fake_B.sum(), fake, create_graph=True)
    penalties = (slope_real.square().sum() + slope_fake.square().sum()) / 32
    loss = torch.nn.functional.softplus(fake_B - real_B).mean() + config.gamma_start / 2 * penalties
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, training.d.parameters)])
    part = r3gan.Part(real.detach(), class_B, z_BZ)
    found = training._d_slope(part, 0.0, config.gamma_start, 1 / 32)[:-4]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert numbers[3] == config.gamma_start == losses.cosine(config.gamma_start, config.gamma_end, 0.0)


def test_half_precision_and_memory_format_are_the_same_step_up_to_rounding(bars):
    config = replace(TINY, half=2, augment=0.0, rate_start=1e-4, rate_end=1e-4)
    told = [
        r3gan.start(config, *bars, 3, 1, "cpu", pace).step(0, 0, 1, loop.alone)
        for pace in (PLAIN, Speed(), Speed(half=True), Speed(fused=True, channels_last=True))
    ]
    assert told[1] == pytest.approx(told[0], rel=1e-4) and told[3] == pytest.approx(told[0], rel=1e-4)
    assert told[2] != told[0] and told[2] == pytest.approx(told[0], rel=0.03)


def test_weights_and_updates_are_float32_where_the_networks_run_in_half(bars):
    training = r3gan.start(TINY, *bars, 3, 1, "cpu", Speed(half=True))
    training.step(0, 0, 1, loop.alone)
    assert {t.dtype for t in training.state().values()} == {torch.float32}


def test_adaptive_augmentation_resumes_bit_equal_and_moves_by_its_share(bars):
    config = replace(TINY, images=32 * 4, augment=0.0, augment_target=0.6, augment_images=320.0)
    kept = {}

    def save(step, state):
        kept[step] = {name: tensor.clone() for name, tensor in state.items()}

    training = r3gan.start(config, *bars, 3, 1, "cpu")
    told = []
    whole = loop.train(training, save=save, report=told.append)
    again = r3gan.start(config, *bars, 3, 1, "cpu")
    resumed = loop.train(again, saved=lambda: [(2, kept[2])])
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    p = 0.0
    for step in range(4):
        ahead = next(news["ahead"] for news in told if news["step"] == step + 1)
        p = min(1.0, max(0.0, p + 0.1 * float(np.sign(np.float32(ahead) - np.float32(0.6)))))
        assert kept[step + 1]["augment.p"].item() == pytest.approx(p)


def test_it_learns_the_classes(bars):
    images, labels = bars
    small = images[:, 1::3, 1::3]  # one resolution; columns 0, 1 or 2, 3 are bright
    config = replace(TINY, images=32 * 50, burn_in=1e9, augment=0.0, ema_images=1.0, gamma_start=0.3, rate_start=4e-3)
    weights = loop.train(r3gan.start(config, small, labels, 3, 1, "cpu"))
    wanted = np.arange(60) % 3
    made = draw.sample(r3gan, config, weights, wanted, np.arange(60), 3, "cpu").mean((1, 3))
    pattern = np.stack([small[labels == number].mean((0, 1, 3)) for number in range(3)])
    distance = np.abs(made[:, None] - pattern).sum(2)
    assert (distance.argmin(1) == wanted).mean() > 0.9
