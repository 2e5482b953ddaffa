"""A flow from noise to a Gaussian is known in closed form: z₁ = μ + σ z₀."""

import pytest
import torch

from dsray.models import flow
from dsray.models.nets import seeded

MEAN, SPREAD = torch.tensor([2.0, -1.0], dtype=torch.float64), torch.tensor([0.5, 1.5], dtype=torch.float64)


def ideal(z_BZ, time_B, class_B):
    """E[z₁ - z₀ | z_t] for z₀ ~ N(0, 1) and z₁ ~ N(μ, σ²)."""
    t = time_B[:, None]
    slope = (t * SPREAD**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * SPREAD**2)
    return MEAN + slope * (z_BZ - t * MEAN)


def lines(count=4000):
    torch.manual_seed(0)
    noise, latent = torch.randn(count, 2, dtype=torch.float64), torch.randn(count, 2, dtype=torch.float64)
    return noise, MEAN + SPREAD * latent, torch.rand(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)


def test_the_ideal_field_carries_noise_to_the_gaussian_with_an_error_of_second_order():
    noise, *_, classes = lines(50)
    wrong = [(flow.carried(ideal, noise, classes, n) - (MEAN + SPREAD * noise)).abs().max() for n in (16, 32, 64)]
    assert wrong[2] < 1e-3
    assert wrong[0] / wrong[1] == pytest.approx(4, rel=0.2) and wrong[1] / wrong[2] == pytest.approx(4, rel=0.2)


def test_the_ideal_field_has_the_least_loss():
    noise, latent, time, classes = lines()
    least = flow.flow_loss(ideal, noise, latent, time, classes).mean()
    for change in (0.9, 1.1):
        spoiled = flow.flow_loss(lambda *at, by=change: by * ideal(*at), noise, latent, time, classes).mean()
        assert spoiled > least + 0.01


def test_the_loss_of_one_line_is_the_squared_distance_to_its_displacement():
    noise, latent = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 4.0]])
    seen = []

    def still(z_BZ, time_B, class_B):
        seen.append(z_BZ)
        return torch.zeros_like(z_BZ)

    loss = flow.flow_loss(still, noise, latent, torch.tensor([0.25]), torch.tensor([0]))
    assert loss.tolist() == [25.0] and seen[0].tolist() == [[1.75, 1.0]]


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    noise, latent, time, classes = lines(5)
    net = seeded(0, flow.Velocity, 2, 8, 1, 1).double()
    with torch.no_grad():
        net.leave.weight.normal_(), net.second[0].weight.normal_()

    def loss(weight):
        at = {**dict(net.named_parameters()), "leave.weight": weight}
        return flow.flow_loss(lambda *z: torch.func.functional_call(net, at, z), noise, latent, time, classes).sum()

    assert torch.autograd.gradcheck(loss, (net.leave.weight.detach().clone().requires_grad_(),))


def test_it_learns_to_carry_noise_to_each_class():
    noise, _, time, _ = lines()
    classes = torch.arange(len(noise)) % 2
    latent = torch.randn_like(noise) * 0.3 + 4.0 * classes[:, None] - 2
    net = seeded(0, flow.Velocity, 2, 32, 2, 2).double()
    adam = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(150):
        part = slice(400 * (step % 10), 400 * (step % 10) + 400)
        adam.zero_grad()
        flow.flow_loss(net, noise[part], latent[part], time[part], classes[part]).mean().backward()
        adam.step()
    made = flow.carried(net, torch.randn_like(noise), classes, 16).detach()
    for number, centre in enumerate((-2.0, 2.0)):
        of_class = made[classes == number]
        assert (of_class.mean(0) - centre).abs().max() < 0.2 and 0.15 < of_class.std() < 0.6


def test_times_cover_every_part_of_the_line():
    times = flow.spread(torch.tensor([0.0, 0.5]), 4)
    assert times.tolist() == [[0.0, 0.25, 0.5, 0.75], [0.125, 0.375, 0.625, 0.875]]
