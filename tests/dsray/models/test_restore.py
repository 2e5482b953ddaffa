"""Restorers of stripes: corrupt in, clean out, and what may not change stays."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from dsray.errors import RecipeError
from dsray.metrics import fidelity
from dsray.models import loop, restore
from dsray.models.feed import to_float


def stripes(count, seed=0):
    """uint8 [N, 14, 18, 1]: waves of any direction, phase and contrast."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:14, :18]
    angle, phase = random.uniform(0, np.pi, (2, count, 1, 1))
    height = random.uniform(40, 120, (count, 1, 1))
    wave = 128 + height * np.sin(0.7 * (np.cos(angle) * x + np.sin(angle) * y) + 2 * phase)
    return wave.round().astype(np.uint8)[..., None]


CLEAN = stripes(300)


def begin(task, images=32 * 40, **changes):
    config = restore.Config(task, images=images, width=16, blocks=1, ema_images=200.0, **changes)
    return config, restore.start(config, CLEAN, seed=1)


@pytest.fixture(scope="module")
def weights():
    """Task → a trained restorer's file."""
    torch.set_num_threads(1)
    return {task: save(loop.train(begin(task)[1])) for task in restore.TASKS}


def corrupt(task, clean, **changes):
    """Held-out images → (corrupt uint8, what may change) as training makes them."""
    config = restore.Config(task, **changes)
    images = to_float(torch.from_numpy(clean.transpose(0, 3, 1, 2).copy()))
    given, free = restore.corrupted(config, images, np.arange(len(clean)), 99)
    return restore.to_uint8(given), free[:, 0].numpy()


def test_a_denoiser_takes_noise_away(weights):
    clean = stripes(40, seed=5)
    noisy, _ = corrupt("denoise", clean, noise_low=40.0, noise_high=40.0)
    made = np.stack([restore.denoise(one, weights["denoise"]) for one in noisy])
    assert made.shape == clean.shape and made.dtype == np.uint8
    assert fidelity.psnr(made, clean).mean() > fidelity.psnr(noisy, clean).mean() + 3


def test_a_hole_is_filled_and_nothing_else_is_touched(weights):
    clean, hole = stripes(40, seed=6), (5, 4, 10, 9)
    left, top, right, bottom = hole
    given = clean.copy()
    given[:, top:bottom, left:right] = 7  # whatever stands there is not looked at
    made = np.stack([restore.inpaint(one, weights["inpaint"], list(hole)) for one in given])
    other = np.stack([restore.inpaint(one, weights["inpaint"], list(hole)) for one in clean])
    assert np.array_equal(made, other)
    inside = np.zeros(clean.shape, bool)
    inside[:, top:bottom, left:right] = True
    assert np.array_equal(made[~inside], clean[~inside])
    wrong = np.abs(made.astype(int) - clean)[inside].mean()
    grey = np.abs(clean[~inside].mean() - clean[inside]).mean()
    assert wrong < 0.7 * grey


def test_detail_comes_back(weights):
    clean = stripes(40, seed=7)
    blurred, _ = corrupt("superresolve", clean)
    made = np.stack([restore.superresolve(one, weights["superresolve"]) for one in blurred])
    assert fidelity.psnr(made, clean).mean() > fidelity.psnr(blurred, clean).mean() + 1


def test_before_training_nothing_is_changed():
    _, training = begin("denoise")
    noisy, _ = corrupt("denoise", CLEAN[:3])
    assert np.array_equal(restore.denoise(noisy[0], save(training.weights())), noisy[0])


@pytest.mark.parametrize("task", restore.TASKS)
def test_a_corruption_is_keyed_by_its_place(task):
    config, _ = begin(task)
    images = to_float(torch.from_numpy(CLEAN[:10].transpose(0, 3, 1, 2).copy()))
    places = np.arange(50, 60)
    whole = restore.corrupted(config, images, places, 3)
    halves = [restore.corrupted(config, images[part], places[part], 3) for part in (slice(0, 4), slice(4, 10))]
    for one, parts in zip(whole, zip(*halves, strict=True), strict=True):
        assert torch.equal(one, torch.cat(parts))
    assert not torch.equal(whole[0], images)


def test_the_noise_has_its_level():
    grey = np.full((20, 64, 64, 1), 128, np.uint8)
    for level in (5.0, 30.0):
        noisy, free = corrupt("denoise", grey, noise_low=level, noise_high=level)
        assert (noisy.astype(float) - 128).std() == pytest.approx(level, rel=0.03) and free.all()


def test_killed_and_resumed_is_bit_equal():
    kept = {}

    def save_state(step, state):
        kept[step] = {name: tensor.clone() for name, tensor in state.items()}

    whole = loop.train(begin("inpaint", 32 * 4)[1], save=save_state)
    again = loop.train(begin("inpaint", 32 * 4)[1], saved=lambda: [(2, kept[2])])
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_weights_of_another_task_or_of_nothing_are_refused(weights):
    with pytest.raises(RecipeError, match="for inpaint with 1 channels, not denoise with 1"):
        restore.denoise(CLEAN[0], weights["inpaint"])
    with pytest.raises(RecipeError, match="not denoise with 3"):
        restore.denoise(np.repeat(CLEAN[0], 3, 2), weights["denoise"])
    for junk in (b"", b"no safetensors", save({"about": torch.tensor([0, 1, 8, 1])}), save({"x": torch.zeros(1)})):
        with pytest.raises(RecipeError, match="holds no restorer"):
            restore.denoise(CLEAN[0], junk)
