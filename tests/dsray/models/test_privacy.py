import importlib.util
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from dsray.errors import RecipeError
from dsray.models.privacy import composed, delta_of, epsilon_of, sigma_of

needs_opacus = pytest.mark.skipif(importlib.util.find_spec("opacus") is None, reason="needs the extra 'dp' (Opacus)")


@pytest.mark.parametrize(("sigma", "epsilon"), [(0.5, 10.0), (1.0, 1.0), (3.7, 0.5), (2.0, 0.0)])
def test_delta_is_the_hockey_stick_divergence(sigma, epsilon):
    def excess(x):
        return max(0.0, stats.norm.pdf(x, 1, sigma) - math.exp(epsilon) * stats.norm.pdf(x, 0, sigma))

    kink = 0.5 + epsilon * sigma**2
    expected = integrate.quad(excess, kink, kink + 12 * sigma, limit=200, epsabs=1e-14)[0]
    assert delta_of(sigma, epsilon) == pytest.approx(expected, rel=1e-6, abs=1e-13)


@given(st.floats(0.01, 100), st.floats(1e-12, 0.1))
def test_noise_is_the_least_that_keeps_the_promise(epsilon, delta):
    sigma = sigma_of(epsilon, delta)
    assert delta_of(sigma, epsilon) <= delta < delta_of(0.999 * sigma, epsilon)
    assert epsilon_of(sigma, delta) == pytest.approx(epsilon, rel=1e-6)
    classic = math.sqrt(2 * math.log(1.25 / delta)) / epsilon
    assert sigma < classic or epsilon > 1  # Dwork and Roth's bound holds up to 1 and is never better there


def test_far_tails_stay_numbers_and_monotone():
    told = [delta_of(0.05, epsilon) for epsilon in (0, 50, 200, 400, 700, 1500)]
    assert told == sorted(told, reverse=True) and 0 <= told[-1] < 1e-9 and told[0] > 0.999
    assert epsilon_of(1e6, 1e-5) == 0.0


def test_mechanisms_compose_as_gaussians():
    assert composed([2.0, 2.0, 2.0, 2.0]) == pytest.approx(1.0) and composed([3.0]) == 3.0
    assert composed([]) == math.inf and composed([1.0, 5.0]) < 1.0


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-5), (-1, 1e-5), (1, 0), (1, 1), (math.nan, 0.1), (math.inf, 0.1)]
)
def test_no_privacy_is_refused(epsilon, delta):
    with pytest.raises(RecipeError, match="There is no privacy"):
        sigma_of(epsilon, delta)


@needs_opacus
@pytest.mark.parametrize(("sigma", "times"), [(0.5, 1), (1.0, 1), (1.0, 4), (3.73, 3)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_opacus_accountants_agree(sigma, times):
    from opacus.accountants import PRVAccountant, RDPAccountant

    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = rdp.history = [(sigma, 1.0, times)]
    ours = epsilon_of(composed([sigma] * times), 1e-5)
    assert prv.get_epsilon(1e-5, eps_error=0.001) == pytest.approx(ours, abs=0.003)
    assert ours <= rdp.get_epsilon(1e-5) < 1.15 * ours  # an upper bound, by Rényi divergences
