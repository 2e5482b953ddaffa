import numpy as np
from scipy import stats

from dsray.models.noise import VARIABLE, noised, normals, secret, uniforms


def test_it_is_gaussian_and_independent():
    drawn = normals(40_000, b"key")
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02
    added = noised(np.full((200, 50), 7.0), 3.0, "test", b"key") - 7
    assert stats.kstest(added.ravel() / 3, "norm").pvalue > 1e-3
    drawn = uniforms(40_000, b"key")
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3 and drawn.min() > 0 and drawn.max() < 1


def test_the_same_noise_only_for_the_same_secret_purpose_size_and_sums():
    sums = np.arange(6.0)
    first = noised(sums, 1.0, "a", b"key")
    assert np.array_equal(first, noised(sums, 1.0, "a", b"key"))
    nudged = sums.copy()
    nudged[5] += 1e-9
    others = [
        noised(sums, 1.0, "a", b"other") - sums,
        noised(sums, 1.0, "b", b"key") - sums,
        noised(sums.reshape(2, 3), 1.0, "a", b"key").ravel() - sums,
        (noised(sums, 1.0 + 1e-12, "a", b"key") - sums),
        noised(nudged, 1.0, "a", b"key") - nudged,
    ]
    assert all(np.abs(other - (first - sums)).min() > 1e-6 for other in others)
    assert not np.array_equal(uniforms(4, b"key", b"ab", b"c"), uniforms(4, b"key", b"a", b"bc"))


def test_without_a_named_secret_each_is_new(monkeypatch):
    assert secret() == secret()  # the tests name one
    monkeypatch.delenv(VARIABLE)
    assert secret() != secret() and len(secret()) == 32
