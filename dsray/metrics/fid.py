"""Fréchet inception distance: how far synthetic images lie from real ones, as papers measure it."""

from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.metrics import inception, inception_weights
from dsray.metrics.distance import frechet
from dsray.metrics.resize import CLEAN, Images
from dsray.metrics.subset import same_size


class Fid(TypedDict):
    fid: float  # of synthetic against real rows
    floor: float  # of other real rows against real ones, as many
    n: int  # rows on either side; published numbers have 50,000: fewer rows give a larger FID
    extractor: str
    resizer: str


def fid(
    real: Images,
    other: Images,
    synthetic: Images,
    weights: Path | None = None,
    resizer: str = CLEAN,
    seed: int = 0,
    device: str = "cpu",
) -> Fid:
    """FID (Heusel et al. 2017, arXiv:1706.08500) of uint8 images [N, H, W, 1 or 3], and of other real images.

    Raises DsrayError when the weights are missing or others, below 2 images of each, or for other channels.
    """
    sets = same_size(real, other, synthetic, seed)
    net = inception.loaded(inception_weights.load(weights))
    real_ND, other_ND, made_ND = (inception.features(net, images, resizer, device) for images in sets)
    return fid_of_features(real_ND, other_ND, made_ND, resizer)


def fid_of_features(
    real_ND: NDArray[np.float32], other_ND: NDArray[np.float32], synthetic_ND: NDArray[np.float32], resizer: str
) -> Fid:
    """The same of Inception features that are already there, as many of each: they serve KID and PRDC too."""
    real, other, made = (rows.astype(np.float64) for rows in (real_ND, other_ND, synthetic_ND))
    return Fid(
        fid=frechet(made, real),
        floor=frechet(other, real),
        n=len(real),
        extractor=inception.EXTRACTOR,
        resizer=resizer,
    )
