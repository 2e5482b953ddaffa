"""A 64-bit perceptual hash: images that look alike differ in few bits."""

import cv2
import numpy as np

from dsray.kinds.image.codec import Pixels

_SIDE = 32


def signature(grey_HW: Pixels) -> int:
    """Signs of 64 low DCT frequencies of the image shrunk to 32×32."""
    small = cv2.resize(grey_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[1:9, 1:9].ravel()
    return int.from_bytes(np.packbits(low > 0).tobytes(), "big")
