import numpy as np
import pytest
from scipy.signal import convolve2d

from dsray.errors import DsrayError
from dsray.metrics import fidelity

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.integers(0, 256, (3, 16, 19, 3)).astype(np.uint8)
MADE = np.clip(TRUE + RANDOM.normal(0, [[[[5]]], [[[20]]], [[[90]]]], TRUE.shape), 0, 255).astype(np.uint8)


def wang(x, y):
    """The paper's formula (13), from means, variances and covariances about them, under each window in turn."""
    side = np.arange(-5, 6)
    window = np.exp(-(side[:, None] ** 2 + side**2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (image[row : row + 11, column : column + 11].astype(float) for image in (x, y))
            am, bm = (window * a).sum(), (window * b).sum()
            av, bv, ab = (window * p * q for p, q in ((a - am, a - am), (b - bm, b - bm), (a - am, b - bm)))
            luminance = (2 * am * bm + 2.55**2) / (am**2 + bm**2 + 2.55**2)
            found.append(luminance * (2 * ab.sum() + 7.65**2) / (av.sum() + bv.sum() + 7.65**2))
    assert len(found) == convolve2d(x, window, "valid").size
    return np.mean(found)


def test_ssim_is_wangs_formula():
    expected = [np.mean([wang(a[..., c], b[..., c]) for c in range(3)]) for a, b in zip(MADE, TRUE, strict=True)]
    np.testing.assert_allclose(fidelity.ssim(MADE, TRUE), expected, rtol=1e-9)
    np.testing.assert_allclose(fidelity.ssim(TRUE, TRUE), 1.0)
    assert (np.diff(fidelity.ssim(MADE, TRUE)) < 0).all()


def test_psnr_of_a_constant_error_is_known():
    true = np.full((2, 4, 4, 1), 100, np.uint8)
    made = true + np.array([0, 51], np.uint8)[:, None, None, None]
    assert fidelity.psnr(made, true).tolist() == [np.inf, pytest.approx(20 * np.log10(5))]
    assert fidelity.psnr(true, made)[1] == fidelity.psnr(made, true)[1]


def test_an_image_smaller_than_the_window_has_no_ssim():
    with pytest.raises(DsrayError, match="11 × 11"):
        fidelity.ssim(TRUE[:, :10], TRUE[:, :10])
