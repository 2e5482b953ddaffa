import math

import numpy as np
import pytest
import torch

from dsray.models import adaptive

PLACES = np.arange(4000)


@pytest.fixture(scope="module")
def drawn():
    return adaptive.draws(1, "test", PLACES)


def images(count, channels=3, side=8):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("p", [0.0, torch.tensor(0.0)])
def test_at_probability_0_every_image_is_itself(drawn, p):
    given = images(500)
    assert torch.equal(adaptive.augment(given, drawn[:500], p, mirrors=True, turns=True), given)


@pytest.mark.parametrize("channels", [1, 3])
def test_at_probability_1_all_are_changed_and_slopes_reach_their_pixels(drawn, channels):
    given = images(64, channels).requires_grad_()
    seen = adaptive.augment(given, drawn[:64], 1.0, mirrors=True, turns=True)
    assert seen.shape == given.shape and seen.isfinite().all()
    assert ((seen - given).abs().amax((1, 2, 3)) > 0.01).all()
    (slope,) = torch.autograd.grad(seen.square().sum(), given)
    assert slope.isfinite().all() and (slope.abs().amax((1, 2, 3)) > 0).all()


def test_the_slope_is_that_of_finite_differences(drawn):
    given = images(2, side=4).double().requires_grad_()
    chance = drawn[:2].double()
    assert torch.autograd.gradcheck(lambda x: adaptive.augment(x, chance, 1.0, True, True), (given,))


def test_chance_is_a_function_of_seed_name_and_place(drawn):
    some = np.array([7, 3000, 7])
    assert torch.equal(adaptive.draws(1, "test", some), drawn[some])
    assert not torch.equal(adaptive.draws(2, "test", PLACES), drawn)
    assert not torch.equal(adaptive.draws(1, "fake", PLACES), drawn)
    given = images(8)
    whole = adaptive.augment(given, drawn[:8], 0.5, True, True)
    parts = [adaptive.augment(given[i : i + 2], drawn[i : i + 2], 0.5, True, True) for i in range(0, 8, 2)]
    torch.testing.assert_close(torch.cat(parts), whole)


REST = {"mirror": 1, "scale": 1, "stretch": 1, "contrast": 1, "invert": 1, "saturation": 1, "cutout": -9}


@pytest.mark.parametrize("name", adaptive.Change._fields)
def test_each_transform_happens_as_often_as_asked(drawn, name):
    """Twice where half of what is drawn is nothing; a rotation before and one after stretching together as often."""
    change = getattr(adaptive.changes(drawn, 0.4, True, True), name)
    share = (change.reshape(len(change), -1) != REST.get(name, 0)).any(1).float().mean().item()
    expected = {"mirror": 0.2, "invert": 0.2, "turn": 0.3, "spin": 1 - 0.6**0.5, "respin": 1 - 0.6**0.5}.get(name, 0.4)
    assert share == pytest.approx(expected, abs=0.03)


def test_what_is_not_allowed_never_happens(drawn):
    change = adaptive.changes(drawn, 1.0, False, False)
    assert (change.mirror == 1).all() and not change.turn.any()


def test_the_sizes_of_transforms_are_the_papers(drawn):
    change = adaptive.changes(drawn, 1.0, True, True)
    spread = {"scale": 0.2, "stretch": 0.2, "contrast": 0.5, "saturation": 1.0}
    for name, deviation in spread.items():
        log = getattr(change, name).log2()
        assert log.std().item() == pytest.approx(deviation, rel=0.05) and abs(log.mean().item()) < 0.06 * deviation
    assert change.brightness.std().item() == pytest.approx(0.2, rel=0.05)
    assert change.slide.std().item() == pytest.approx(0.125, rel=0.05)
    assert 0.12 < change.shift.abs().max().item() <= 0.125
    for angle in (change.spin, change.respin, change.hue):
        assert angle.std().item() == pytest.approx(math.pi / 3**0.5, rel=0.05) and angle.abs().max() <= math.pi
    assert change.turn.unique(return_counts=True)[1].min() > 850


def alone(**values):
    """One image's change that is nothing but what is named."""
    rest = {name: torch.tensor([float(REST.get(name, 0))]) for name in adaptive.Change._fields}
    pairs = {name: rest[name].expand(1, 2) for name in ("shift", "slide", "cutout")}
    return adaptive.Change(**{**rest, **pairs, **{name: torch.tensor([value]) for name, value in values.items()}})


def test_whole_pixels_are_moved_as_they_are():
    given = images(1)
    close = {"rtol": 0.0, "atol": 1e-5}
    torch.testing.assert_close(adaptive.warp(given, alone(mirror=-1.0)), given.flip(3), **close)
    for turn in range(4):
        turned = adaptive.warp(given, alone(turn=float(turn)))
        assert min((turned - torch.rot90(given, k, (2, 3))).abs().max() for k in (turn, -turn)) < 1e-5
    shifted = adaptive.warp(given, alone(shift=[0.13, -0.12]))  # of 8 pixels: one each way
    torch.testing.assert_close(shifted[:, :, 1:, :-1], given[:, :, :-1, 1:], **close)


def test_colours_change_as_they_should():
    given = images(1)
    torch.testing.assert_close(adaptive.tint(given, alone(brightness=0.3)), given + 0.3)
    torch.testing.assert_close(adaptive.tint(given, alone(contrast=2.0)), given * 2)
    third = adaptive.tint(given, alone(hue=2 * math.pi / 3))
    assert min((third - given.roll(k, 1)).abs().max() for k in (1, 2)) < 1e-5
    grey = adaptive.tint(given, alone(saturation=0.0))
    torch.testing.assert_close(grey, given.mean(1, keepdim=True).expand_as(given))
    inverted = adaptive.tint(given, alone(invert=-1.0))
    torch.testing.assert_close(inverted.mean(1), -given.mean(1))
    torch.testing.assert_close(inverted - inverted.mean(1, keepdim=True), given - given.mean(1, keepdim=True))


def test_a_quarter_is_cut_out_in_the_middle():
    cut = adaptive.cut(torch.ones(1, 1, 8, 8), alone(cutout=[0.5, 0.5]))
    assert cut[0, 0, 2:6, 2:6].sum() == 0 and cut.sum() == 48


def test_probability_follows_the_sign_and_stays_one():
    p = torch.zeros(())
    for ahead, expected in ((0.9, 0.25), (0.7, 0.5), (0.1, 0.25), (0.6, 0.25), (0.0, 0.0), (0.0, 0.0)):
        adaptive.adapt(p, torch.tensor(ahead), 0.6, 0.25)
        assert p.item() == pytest.approx(expected)
