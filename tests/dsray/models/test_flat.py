import pytest
import torch
from torch import nn

from dsray.models.flat import Flat, follow, named


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.parametrize("fused", [False, True])
def test_it_is_torchs_adam(fused):
    ours, theirs = net(), net()
    flat = Flat(ours, 0.0, 0.99, fused)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.0, 0.99))
    for step in range(20):
        x = torch.randn(16, 4)
        loss = ours(x).square().mean()
        gradient, told = flat.gradient(loss, [loss], lambda t: t)
        flat.update(gradient, 0.01, step)
        expected = theirs(x).square().mean()
        adam.zero_grad()
        expected.backward()
        adam.step()
        assert told == [pytest.approx(expected.item(), rel=1e-4)]
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_the_vector_is_the_networks_parameters():
    module = net()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    flat = Flat(module, 0.9, 0.99)
    assert all(torch.equal(before[name], p) for name, p in named(module, flat.vector_P).items())
    flat.vector_P.zero_()
    assert all(not p.any() for p in module.parameters())


def test_gradient_and_losses_are_averaged_together():
    module = net()
    flat = Flat(module, 0.9, 0.99)
    seen = []

    def twice(t: torch.Tensor) -> torch.Tensor:
        seen.append(len(t))
        return 2 * t

    loss = module(torch.ones(1, 4)).sum()
    (alone, told), (doubled, told_twice) = (
        flat.gradient(loss, [loss], lambda t: t, retain=True),
        flat.gradient(loss, [loss], twice),
    )
    torch.testing.assert_close(doubled, 2 * alone)
    assert told_twice == [2 * told[0]] and seen == [len(flat.vector_P) + 1]


def test_the_average_goes_half_the_way_in_a_half_life():
    average, target = torch.zeros(3), torch.ones(3)
    for _ in range(10):
        follow(average, target, images=10, half_life=100, share=1.0)
    torch.testing.assert_close(average, torch.full((3,), 0.5))


@pytest.mark.parametrize("fused", [False, True])
def test_numbers_on_the_device_are_those_of_the_host(fused):
    by_float, by_tensor = Flat(net(), 0.0, 0.9, fused), Flat(net(), 0.0, 0.9, fused)
    for step, beta2 in enumerate((0.9, 0.95, 0.99)):
        gradient = torch.randn_like(by_float.vector_P)
        by_float.update(gradient, 0.01, step, beta2)
        by_tensor.update(gradient, *torch.tensor([0.01, step, beta2]).unbind())
    torch.testing.assert_close(by_tensor.vector_P, by_float.vector_P, rtol=1e-4, atol=1e-6)
