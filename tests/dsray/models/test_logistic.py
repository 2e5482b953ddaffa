import numpy as np
import pytest
import torch
from scipy import stats

from dsray.models import logistic

LEVELS = torch.arange(256.0)
MEANS = torch.tensor([-40.0, 0.0, 0.5, 100.3, 255.0, 400.0])[:, None]
SCALES = torch.tensor([0.02, 0.3, 1.0, 7.0, 60.0, 3000.0])


def direct(mean, scale):
    """The same probabilities from SciPy's logistic distribution, in float64 [256]."""
    edges = np.concatenate([[-np.inf], np.arange(0.5, 255), [np.inf]])
    of = stats.logistic(mean, scale)
    return np.where(edges[1:] <= mean, np.diff(of.cdf(edges)), of.sf(edges[:-1]) - of.sf(edges[1:]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_probabilities_of_all_levels_sum_to_one(dtype):
    log = logistic.log_probability(LEVELS.to(dtype), MEANS[..., None].to(dtype), SCALES[:, None].log().to(dtype))
    torch.testing.assert_close(log.double().exp().sum(-1), torch.ones(6, 6, dtype=torch.float64), atol=1e-6, rtol=0)


def test_they_are_the_logistics_mass_between_half_levels():
    for mean in MEANS.flatten().double():
        for scale in SCALES.double():
            made = logistic.log_probability(LEVELS.double(), mean, scale.log()).exp()
            np.testing.assert_allclose(made.numpy(), direct(mean.item(), scale.item()), rtol=1e-6, atol=1e-14)


def test_a_level_far_in_the_tail_keeps_its_logarithm_and_slope():
    mean = torch.tensor(0.0, requires_grad=True)
    log = logistic.log_probability(torch.tensor(200.0), mean, torch.tensor(0.0))
    log.backward()
    assert log.item() == pytest.approx(-199.5 + np.log(1 - np.exp(-1)), rel=1e-6)  # exp(-199.5) is 0 in float32
    assert mean.grad.item() == pytest.approx(1.0, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    levels = torch.tensor([0.0, 3.0, 128.0, 254.0, 255.0], dtype=torch.float64).expand(1, 1, 5)
    logits = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    means = (255 * torch.rand(1, 3, 5, dtype=torch.float64)).requires_grad_()
    log_scales = (3 * torch.rand(1, 3, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *of: logistic.mixture_log_probability(levels, *of), (logits, means, log_scales)
    )


def test_a_mixture_is_the_weighted_sum_of_its_components():
    logits, means, scales = torch.tensor([[0.0, 1.0, -2.0], [10.0, 99.0, 240.0], [3.0, 9.0, 1.0]])
    of = (x[None, :, None] for x in (logits, means, scales.log()))
    made = logistic.mixture_log_probability(LEVELS[None, None], *of)
    weights = logits.double().softmax(0).numpy()
    expected = sum(w * direct(m, s) for w, m, s in zip(weights, means.tolist(), scales.tolist(), strict=True))
    np.testing.assert_allclose(made[0].double().exp().numpy(), expected, rtol=1e-3, atol=1e-9)


def test_equally_likely_levels_have_eight_bits():
    assert logistic.bits(3 * 28 * np.log(256), 3 * 28) == pytest.approx(8)
