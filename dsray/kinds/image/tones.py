"""What values pixels take: every pointwise step in one table, hue and saturation in one pass.

Axes: H height, W width, C channels.
"""

import cv2
import numpy as np

from dsray.kinds.image.codec import Pixels


def table(brightness: float = 0, contrast: float = 0, gamma: float = 1) -> Pixels:
    """[256] grey level → grey level: contrast about the middle, brightness (share of the range), then gamma."""
    level_256 = (np.arange(256.0) - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
    if gamma != 1:
        level_256 = 255 * (np.clip(level_256, 0, 255) / 255) ** gamma
    return np.clip(np.rint(level_256), 0, 255).astype(np.uint8)


def colour(pixels_HWC: Pixels, hue: float = 0, saturation: float = 0) -> Pixels:
    """Hue turned by degrees, saturation made larger by a share, both in HSV (Smith 1978). Grey images have neither."""
    if pixels_HWC.shape[2] == 1:
        return pixels_HWC
    hsv_HWC = cv2.cvtColor(pixels_HWC.astype(np.float32), cv2.COLOR_RGB2HSV)  # degrees, share, grey levels
    hsv_HWC[:, :, 0] = (hsv_HWC[:, :, 0] + hue) % 360
    hsv_HWC[:, :, 1] = np.minimum(hsv_HWC[:, :, 1] * (1 + saturation), 1)
    return np.asarray(np.rint(cv2.cvtColor(hsv_HWC, cv2.COLOR_HSV2RGB)), np.uint8)
