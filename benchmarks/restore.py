"""A trained denoiser against medians (3 and 5 pixels) and non-local means, by the error that is left.

MNIST's test digits with Gaussian noise of four levels, clipped and rounded; one network for all of them. Non-local
means (Buades et al. 2005, OpenCV) stand for the BM3D class; their strength is the best of four for each level, chosen
on the digits that are judged. Beside the figure: holes against Telea's inpainting, detail against bicubic enlargement.
The figure is the ratio of mean squared errors, the best baseline's to ours, as a geometric mean over the levels.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from benchmarks import protocol
from benchmarks.mnist import mnist
from dsray.metrics.fidelity import ssim
from dsray.models import draw, loop, restore
from dsray.models.feed import to_float

AT_LEAST = 1.0
SIGMAS = (10.0, 25.0, 50.0, 75.0)
STRENGTHS = (0.6, 0.8, 1.0, 1.3)  # of non-local means, in σ
SIZES = {True: (6_000, 100), False: (60_000, 1000)}  # images seen in training, digits judged; quick: noise alone

Images = NDArray[np.uint8]


def trained(task: restore.Task, images: int, digits: Images) -> bytes:
    """The weights, as a recipe's file has them."""
    start = time.process_time()
    weights = save(loop.train(restore.start(restore.Config(task, images=images), digits, seed=0)))
    print(f"{task}: {images:,} images in {time.process_time() - start:.0f} s of processor", flush=True)
    return weights


def corrupt(config: restore.Config, clean: Images) -> tuple[Images, NDArray[np.float32]]:
    """Corrupt digits and what may change [N, H, W], keyed by the digit's place."""
    images = to_float(torch.from_numpy(np.ascontiguousarray(clean.transpose(0, 3, 1, 2))))
    given, free = restore.corrupted(config, images, np.arange(len(clean)), 1)
    return draw.to_uint8(given), free[:, 0].numpy()


def each(step: Callable[[Images], Images], images: Images) -> Images:
    return np.stack([step(image).reshape(image.shape) for image in images])


def row(name: str, made: Images, clean: Images) -> float:
    """Prints PSNR and SSIM; returns the mean squared error. PSNR is that of the mean: a hole in black costs nothing."""
    error = float(np.square(made.astype(float) - clean).mean())
    decibels = 10 * np.log10(255**2 / error)
    print(f"  {name:<22} {decibels:6.2f} dB  SSIM {ssim(made, clean).mean():.3f}", flush=True)
    return error


def means(image: Images, strength: float) -> Images:
    return np.asarray(cv2.fastNlMeansDenoising(image, None, strength, 5, 15))


def denoising(weights: bytes, clean: Images) -> tuple[float, float]:
    """Geometric means over the levels of the errors: ours, the best baseline's."""
    errors = []
    for sigma in SIGMAS:
        noisy, _ = corrupt(restore.Config("denoise", noise_low=sigma, noise_high=sigma), clean)
        print(f"noise of {sigma:.0f} grey levels")
        row("as it is", noisy, clean)
        nlm = [each(partial(means, strength=share * sigma), noisy) for share in STRENGTHS]
        best = min(nlm, key=lambda made: np.square(made.astype(float) - clean).mean())
        baselines = [row(f"median {k} × {k}", each(partial(cv2.medianBlur, ksize=k), noisy), clean) for k in (3, 5)]
        baselines.append(row("non-local means", best, clean))
        errors.append((row("denoise", each(lambda x: restore.denoise(x, weights), noisy), clean), min(baselines)))
    ours, theirs = np.exp(np.log(errors).mean(0)).tolist()
    return ours, theirs


def inpainting(weights: bytes, clean: Images) -> None:
    given, free = corrupt(restore.Config("inpaint"), clean)
    holes = [[x[0], y[0], x[-1] + 1, y[-1] + 1] for y, x in map(np.nonzero, free)]
    made = [restore.inpaint(image, weights, hole) for image, hole in zip(given, holes, strict=True)]
    telea = [
        cv2.inpaint(i, f.astype(np.uint8), 3, cv2.INPAINT_TELEA)[..., None] for i, f in zip(given, free, strict=True)
    ]
    print("holes of up to half the side")
    row("Telea", np.stack(telea), clean)
    row("inpaint", np.stack(made), clean)


def enlarging(weights: bytes, clean: Images) -> None:
    blurred, _ = corrupt(restore.Config("superresolve"), clean)
    print("shrunk to half and enlarged again")
    row("bicubic", blurred, clean)
    row("superresolve", each(lambda x: restore.superresolve(x, weights), blurred), clean)


def main() -> int:
    quick = protocol.quick(__doc__)
    images, judged = SIZES[quick]
    digits, _, test, _ = mnist()
    clean = test[:judged]
    if not quick:
        inpainting(trained("inpaint", images, digits), clean)
        enlarging(trained("superresolve", images, digits), clean)
    ours, theirs = denoising(trained("denoise", images, digits), clean)
    return protocol.verdict("restore", ours, theirs, theirs / ours, AT_LEAST, "mean squared error")


if __name__ == "__main__":
    sys.exit(main())
