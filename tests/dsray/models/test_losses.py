import math
from itertools import pairwise

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dsray.models import losses

REAL, FAKE = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])


def test_the_relativistic_losses_are_the_logistic_loss_of_the_pair():
    expected = torch.tensor([math.log(1 + math.exp(-1)), math.log(1 + math.exp(3)), math.log(2)])
    torch.testing.assert_close(losses.relativistic_d_loss(REAL, FAKE), expected)
    torch.testing.assert_close(losses.relativistic_g_loss(FAKE, REAL), expected)


def test_the_relativistic_loss_ignores_what_is_added_to_both():
    torch.testing.assert_close(losses.relativistic_d_loss(REAL + 5, FAKE + 5), losses.relativistic_d_loss(REAL, FAKE))


def test_the_classic_losses_are_the_negative_logs_of_the_probabilities():
    real, fake = torch.sigmoid(REAL), torch.sigmoid(FAKE)
    torch.testing.assert_close(losses.classic_d_loss(REAL, FAKE), -real.log() - (1 - fake).log())
    torch.testing.assert_close(losses.non_saturating_g_loss(FAKE), -fake.log())


GRADIENTS = [
    losses.relativistic_d_loss,
    losses.relativistic_g_loss,
    losses.classic_d_loss,
    losses.non_saturating_g_loss,
    losses.kl_to_standard_normal,
    lambda error, spread: losses.gaussian_nll(error, spread.exp()),
]


@pytest.mark.parametrize("loss", GRADIENTS, ids=lambda loss: loss.__name__)
def test_gradients_are_those_of_finite_differences(loss):
    """In float64, also far out, where a careless logarithm would lose them."""
    torch.manual_seed(0)
    count = loss.__code__.co_argcount
    for scale in (1.0, 10.0):
        inputs = [(scale**0.5 * torch.randn(4, 3, dtype=torch.float64)).requires_grad_() for _ in range(count)]
        assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_the_penalty_of_a_linear_critic_is_its_squared_weights():
    weight = torch.arange(8.0).reshape(1, 2, 2, 2)
    images = torch.randn(5, 2, 2, 2, requires_grad=True)
    penalty_B = losses.gradient_penalty((images * weight).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty_B, weight.square().sum().expand(5))


def test_the_penalty_differentiates_to_every_weight():
    """R1 and R2 through a small network, second derivatives of its bends included."""
    torch.manual_seed(0)
    images = torch.randn(3, 1, 4, 4, dtype=torch.float64, requires_grad=True)

    def penalty(kernel: torch.Tensor, bias: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.softplus(torch.nn.functional.conv2d(images, kernel, bias))
        return losses.gradient_penalty(torch.tanh(hidden.flatten(1) @ weight), images)

    shapes = [(2, 1, 3, 3), (2,), (8,)]
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(penalty, weights)


def test_the_penalty_is_the_limit_of_finite_differences():
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(16, 1)
    ).double()
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    step = 1e-5
    slopes = []
    for place in range(16):
        nudge = torch.zeros(16, dtype=torch.float64)
        nudge[place] = step
        nudge = nudge.view(1, 1, 4, 4)
        slopes.append((net(image + nudge) - net(image - nudge)).item() / (2 * step))
    penalty = losses.gradient_penalty(net(image)[:, 0], image).item()
    assert penalty == pytest.approx(sum(s * s for s in slopes), rel=1e-6)


def test_kl_and_likelihood_agree_with_torch_distributions():
    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(losses.kl_to_standard_normal(mean, log_variance), expected)
    error, variance = torch.randn(10), torch.tensor(0.3)
    torch.testing.assert_close(losses.gaussian_nll(error, variance), -Normal(0.0, 0.3**0.5).log_prob(error))


def test_the_optimal_variance_given_as_a_constant_has_the_slope_of_the_optimal_sigma():
    """d/dθ of N/2 log MSE(θ), the σ-VAE's loss, equals that of the likelihood with σ² = MSE held fixed."""
    target, guess = torch.randn(50), torch.randn(50, requires_grad=True)
    (fixed,) = torch.autograd.grad(
        losses.gaussian_nll(target - guess, (target - guess).square().mean().detach()).sum(), guess
    )
    (optimal,) = torch.autograd.grad(25 * (target - guess).square().mean().log(), guess)
    torch.testing.assert_close(fixed, optimal)


def test_a_cosine_schedule_has_its_ends_and_falls_between():
    values = [losses.cosine(1.0, 0.1, share / 10) for share in range(-1, 13)]
    assert values[0] == values[1] == 1.0 and values[-1] == pytest.approx(0.1)
    assert values[6] == pytest.approx(0.55)
    assert all(a >= b for a, b in pairwise(values))
