import pytest
import torch

from dsray.models.nets import Block, Painter, Reader, leaky_clamp, seeded, sizes


def test_sides_are_halved_rounding_up_until_they_are_small():
    assert sizes(28, 28) == [(14, 14), (7, 7)]
    assert sizes(64, 64) == [(32, 32), (16, 16), (8, 8)]
    assert sizes(30, 17) == [(15, 9), (8, 5)]
    assert sizes(8, 8) == [(4, 4)]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (30, 17, 3), (9, 9, 1), (64, 64, 3)])
def test_any_size_can_be_read_and_painted(shape):
    height, width, channels = shape
    images = Painter(shape, 16, 1, 5)(torch.randn(2, 5))
    assert images.shape == (2, channels, height, width)
    vector = Reader(shape, 16, 1, 7)(images)
    assert vector.shape == (2, 7)
    assert all(p.grad is not None for p in _with_gradients(Reader(shape, 16, 1, 7), images.detach()))


def _with_gradients(net, x):
    net(x).sum().backward()
    return list(net.parameters())


def test_a_block_starts_as_the_identity():
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(Block(8, depth=3)(x), x)


def test_a_deep_network_starts_with_signals_of_the_same_size():
    torch.manual_seed(0)
    spread = [float(Painter((32, 32, 1), 32, blocks, 16)(torch.randn(32, 16)).detach().std()) for blocks in (1, 8)]
    assert 0.1 < spread[0] < 3 and spread[1] == pytest.approx(spread[0], rel=0.3)


def test_leaky_clamp_keeps_the_inside_and_a_slope_outside():
    x = torch.tensor([-3.0, -0.5, 0.9, 2.0], requires_grad=True)
    torch.testing.assert_close(leaky_clamp(x), torch.tensor([-1.2, -0.5, 0.9, 1.1]))
    (slope,) = torch.autograd.grad(leaky_clamp(x).sum(), x)
    torch.testing.assert_close(slope, torch.tensor([0.1, 1.0, 1.0, 0.1]))


def test_a_seed_makes_the_network_and_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    once = seeded(1, Block, 8, 1)
    assert torch.rand(1) == expected
    again, other = seeded(1, Block, 8, 1), seeded(2, Block, 8, 1)
    assert torch.equal(once.first.weight, again.first.weight) and not torch.equal(once.first.weight, other.first.weight)
