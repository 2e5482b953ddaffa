import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dsray.errors import DsrayError
from dsray.models import dpgan, loop
from dsray.models.feed import to_float

TINY = dpgan.PRESETS["tiny"]


def begin(bars, **changes):
    pytest.importorskip("opacus", reason="needs the extra 'dp' (Opacus)")
    config = replace(TINY, images=32 * 6, **changes)
    return config, dpgan.start(config, *bars, 3, 1, "cpu")


def test_each_rows_gradient_is_clipped_before_the_sum(bars):
    """Against one backward pass a row."""
    _, training = begin(bars, clip=0.05)
    total = training._private(0, 0, 1)
    chance = dpgan.uniforms(90, training.key, training.about, b"rows", b"0")
    rows = np.flatnonzero(chance < training.rate)
    expected = torch.zeros_like(total)
    for row in rows:
        one = torch.tensor([int(row)])
        real, label = to_float(training.feed.images_NCHW[one]), training.feed.labels_N[one]
        loss = F.relu(1 - training.discriminator(real, label)).sum()
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, training.d.parameters)])
        expected += gradient * min(1.0, 0.05 / float(gradient.norm().clamp_min(1e-12)))
    assert 10 < len(rows) < 60 and float(total.norm()) <= 0.05 * len(rows) + 1e-4
    torch.testing.assert_close(total, expected, rtol=1e-3, atol=1e-5)


def test_it_spends_what_it_was_given_and_goes_on_spending_after_a_resume(bars):
    _, training = begin(bars)
    kept = {}
    weights = loop.train(training, save=lambda n, s: kept.update({n: {k: v.clone() for k, v in s.items()}}))
    assert 0.9 * 50 < float(weights["private.epsilon"]) <= 50.5
    step, state = min(kept.items())
    assert state["private.history"].tolist() == [[training.sigma, training.rate, step]]
    _, again = begin(bars)
    again.load(state)
    assert 0 < again.epsilon < training.epsilon
    done = loop.train(begin(bars)[1], saved=lambda: [(step, state)])
    assert float(done["private.epsilon"]) == float(weights["private.epsilon"])


def test_without_opacus_the_extra_is_named(bars, monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    dpgan._sigma.cache_clear()
    with pytest.raises(DsrayError, match=r"dsray\[dp\]"):
        dpgan.start(TINY, *bars, 3, 1, "cpu")
    with pytest.raises(DsrayError, match="protects nobody"):
        dpgan.start(replace(TINY, delta=0.5), *bars, 3, 1, "cpu")
