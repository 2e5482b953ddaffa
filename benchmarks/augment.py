"""One fused augmentation against albumentations 2.0.8 doing the same transforms one after the other.

Colour images of 256×256 in memory, one core, parameters drawn anew for every image on both sides.
`python benchmarks/augment.py [--quick]`: the last line is JSON; exit 1 when short, 2 when albumentations is not there.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else the import asks the network for a newer version

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray import keys
from dsray.kinds.image.augment import plan, transform

AT_LEAST = 2.5
SPEC = {"rotate": 12, "scale": [0.9, 1.1], "translate": 0.08, "shear": 5, "flip": True}
SPEC |= {"brightness": 0.1, "contrast": 0.1, "noise": 0.03}

Images = NDArray[np.uint8]


def fused(images_NHWC: Images) -> None:
    ids = [keys.row_id(str(index)) for index in range(len(images_NHWC))]
    for image, params in zip(images_NHWC, plan(SPEC, 7, ids, 0), strict=True):
        transform(image, params)


def stepwise() -> Callable[[Images], None]:
    """SPEC in albumentations: every step applied, bilinear and mirrored at the border as in dsray."""
    import albumentations as A  # type: ignore[import-not-found,unused-ignore]  # a baseline, in its own environment

    mirrored = {"border_mode": cv2.BORDER_REFLECT_101, "interpolation": cv2.INTER_LINEAR, "p": 1.0}
    steps = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(shear=(-5, 5), **mirrored),
            A.Affine(scale=(0.9, 1.1), **mirrored),
            A.Rotate(limit=12, **mirrored),
            A.Affine(translate_percent=(-0.08, 0.08), **mirrored),
            A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=1.0),
            A.GaussNoise(std_range=(0.03, 0.03), p=1.0),
        ],
        seed=7,
    )

    def run(images_NHWC: Images) -> None:
        for image in images_NHWC:
            steps(image=image)

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    quick = parser.parse_args().quick
    try:
        baseline = stepwise()
    except ImportError as error:
        print(f"albumentations is not installed here ({error}); `make bench` installs it in an environment of its own.")
        return 2
    cv2.setNumThreads(1)
    count, rounds = (200, 5) if quick else (1000, 9)
    rng = np.random.default_rng(7)
    noise_NHWC = rng.integers(0, 256, (count, 256, 256, 3), np.uint8)
    images = np.stack([cv2.GaussianBlur(noise_HWC, (0, 0), 3) for noise_HWC in noise_NHWC]).astype(np.uint8)
    rates: dict[str, list[float]] = {"fused": [], "baseline": []}
    for number in range(rounds + 1):
        for name, run in (("fused", fused), ("baseline", baseline)):
            start = time.process_time()  # of one core: what else the machine does matters less
            run(images)
            if number:  # the first round warms up
                rates[name].append(count / (time.process_time() - start))
    value, against = (statistics.median(rates[name]) for name in ("fused", "baseline"))
    ratio = value / against
    print(f"{value:.0f} images/s fused, {against:.0f} one after the other in albumentations: {ratio:.2f}×")
    result = {"name": "augment", "value": round(value, 1), "baseline": round(against, 1), "ratio": round(ratio, 3)}
    print(json.dumps(result | {"at_least": AT_LEAST, "unit": "images/s"}))
    return 0 if ratio >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
