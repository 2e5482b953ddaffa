"""Adaptive discriminator augmentation (Karras et al., arXiv:2006.06676, appendix B), as small images need it.

Real and generated images are both shown changed, each transform with probability p; below about 0.8 a generator can
tell the changes from the data and does not learn them. Transforms that do nothing leave an image as it is, bit by bit.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsray import rng

Probability = float | Tensor

_GATES = ("mirror", "turn", "shift", "scale", "spin", "stretch", "respin", "slide",
          "brightness", "contrast", "invert", "hue", "saturation", "cutout")  # fmt: skip
_UNIFORMS = ("mirror", "turn", "shift x", "shift y", "spin", "respin", "invert", "hue", "cutout x", "cutout y")
_NORMALS = ("scale", "stretch", "slide x", "slide y", "brightness", "contrast", "saturation")

_SHIFT = 0.125  # greatest, of the side
_SLIDE = 0.125  # standard deviation, of the side
_SCALE = 0.2  # of log2
_BRIGHTNESS = 0.2
_CONTRAST = 0.5  # of log2
_SATURATION = 1.0  # of log2
_CUTOUT = 0.5  # of the side


class Change(NamedTuple):
    """What happens to each image [B]; 0 or 1 where nothing does. Angles in radians, places as shares of the side."""

    mirror: Tensor  # 1 or -1
    turn: Tensor  # right angles
    shift: Tensor  # [B, 2], to whole pixels
    scale: Tensor
    spin: Tensor
    stretch: Tensor
    respin: Tensor
    slide: Tensor  # [B, 2]
    brightness: Tensor
    contrast: Tensor
    invert: Tensor  # 1 or -1
    hue: Tensor
    saturation: Tensor
    cutout: Tensor  # [B, 2], the middle of what is cut; far outside where nothing is


def draws(seed: int, name: str, places_B: NDArray[np.int64]) -> Tensor:
    """[B, D]: the chance that `changes` needs, keyed by seed, name and place."""
    rows = places_B.astype(np.uint64)
    even = rng.uniform(seed, f"{name} even", rows, draws=len(_GATES) + len(_UNIFORMS))
    return torch.from_numpy(
        np.concatenate([even, rng.normal(seed, f"{name} normal", rows, draws=len(_NORMALS))], 1).astype(np.float32)
    )


def changes(draws_BD: Tensor, p: Probability, mirrors: bool, turns: bool) -> Change:
    """The transforms of each image; each happens with probability p, the two rotations at least one with p."""
    gate_BG, even_BU, normal_BN = torch.split(draws_BD, [len(_GATES), len(_UNIFORMS), len(_NORMALS)], 1)
    even = dict(zip(_UNIFORMS, even_BU.unbind(1), strict=True))
    normal = dict(zip(_NORMALS, normal_BN.unbind(1), strict=True))
    gate = dict(zip(_GATES, gate_BG.unbind(1), strict=True))
    either = 1 - (1 - p) ** 0.5

    def where(name: str, value: Tensor, rest: float, chance: Probability = p) -> Tensor:
        shut_B = gate[name] >= chance
        return value.masked_fill(shut_B if value.dim() == 1 else shut_B[:, None], rest)

    def pair(values: dict[str, Tensor], name: str) -> Tensor:
        return torch.stack([values[f"{name} x"], values[f"{name} y"]], 1)

    def sign(x: Tensor) -> Tensor:
        return 1.0 - 2.0 * (x < 0.5).float()

    nothing = torch.zeros_like(even["turn"])
    return Change(
        mirror=where("mirror", sign(even["mirror"]), 1.0) if mirrors else nothing + 1.0,
        turn=where("turn", (4 * even["turn"]).floor(), 0.0) if turns else nothing,
        shift=where("shift", (2 * pair(even, "shift") - 1) * _SHIFT, 0.0),
        scale=where("scale", torch.exp2(_SCALE * normal["scale"]), 1.0),
        spin=where("spin", (2 * even["spin"] - 1) * math.pi, 0.0, either),
        stretch=where("stretch", torch.exp2(_SCALE * normal["stretch"]), 1.0),
        respin=where("respin", (2 * even["respin"] - 1) * math.pi, 0.0, either),
        slide=where("slide", _SLIDE * pair(normal, "slide"), 0.0),
        brightness=where("brightness", _BRIGHTNESS * normal["brightness"], 0.0),
        contrast=where("contrast", torch.exp2(_CONTRAST * normal["contrast"]), 1.0),
        invert=where("invert", sign(even["invert"]), 1.0),
        hue=where("hue", (2 * even["hue"] - 1) * math.pi, 0.0),
        saturation=where("saturation", torch.exp2(_SATURATION * normal["saturation"]), 1.0),
        cutout=where("cutout", pair(even, "cutout"), -9.0),
    )


def augment(
    images_BCHW: Tensor, draws_BD: Tensor, p: Probability, mirrors: bool = False, turns: bool = False
) -> Tensor:
    """The images [-1, 1], each changed by what `draws` gives. Differentiable in the images."""
    square = images_BCHW.shape[2] == images_BCHW.shape[3]
    change = changes(draws_BD, p, mirrors, turns and square)
    return cut(tint(warp(images_BCHW, change), change), change)


def warp(images_BCHW: Tensor, change: Change) -> Tensor:
    """Every geometric transform in one resampling, bilinear; beyond the edge the image is reflected."""
    height, width = images_BCHW.shape[2:]
    side = torch.stack([change.scale.new_full((), width), change.scale.new_full((), height)])
    one, none = torch.ones_like(change.scale), torch.zeros_like(change.scale)

    def scaled(x: Tensor, y: Tensor) -> Tensor:
        return _rows(x, none, none, none, y, none)

    def turned(angle: Tensor) -> Tensor:
        return _rows(angle.cos(), -angle.sin(), none, angle.sin(), angle.cos(), none)

    def moved(by_B2: Tensor) -> Tensor:
        x, y = by_B2.unbind(1)
        return _rows(one, none, x, none, one, y)

    # from a place in the changed image to the place that it shows, in pixels from the middle
    odd = change.turn.remainder(2)
    cos, sin = 1 - odd - 2 * (change.turn == 2), odd * (2 - change.turn)  # exact
    steps = (
        scaled(change.mirror, one),
        _rows(cos, -sin, none, sin, cos, none),
        moved((change.shift * side).round()),
        scaled(1 / change.scale, 1 / change.scale),
        turned(change.spin),
        scaled(1 / change.stretch, change.stretch),
        turned(change.respin),
        moved(change.slide * side),
    )
    place = steps[0]
    for step in steps[1:]:
        place = place @ step
    half = torch.cat([side / 2, side.new_ones(1)])
    theta = (place * half / half[:, None])[:, :2]  # in units of half a side, as grids are
    grid = F.affine_grid(theta, list(images_BCHW.shape), align_corners=False)
    warped = F.grid_sample(images_BCHW, grid, padding_mode="reflection", align_corners=False)
    touched_B = (place != torch.eye(3, device=place.device)).any(2).any(1)
    return torch.where(touched_B[:, None, None, None], warped, images_BCHW)


def tint(images_BCHW: Tensor, change: Change) -> Tensor:
    """Brightness, contrast and its reversal act on the mean of the channels, hue and saturation on what differs from it
    (with three channels; one has neither)."""

    def each(x_B: Tensor) -> Tensor:
        return x_B[:, None, None, None]

    luma = images_BCHW.mean(1, keepdim=True)
    colour = images_BCHW - luma
    if images_BCHW.shape[1] == 3:  # turned about the grey axis
        across = (colour.roll(1, 1) - colour.roll(2, 1)) / 3**0.5
        colour = each(change.hue.cos()) * colour + each(change.hue.sin()) * across
    luma = each(change.invert) * (luma + each(change.brightness))
    tinted = each(change.contrast) * (luma + each(change.saturation) * colour)
    touched_B = (
        (change.brightness != 0) | (change.contrast != 1) | (change.invert != 1) | (change.hue != 0)
        | (change.saturation != 1)
    )  # fmt: skip
    return torch.where(each(touched_B), tinted, images_BCHW)


def cut(images_BCHW: Tensor, change: Change) -> Tensor:
    """Half a side's square, wherever its middle falls, becomes mid-grey."""
    height, width = images_BCHW.shape[2:]
    device = images_BCHW.device
    x_W = (torch.arange(width, device=device) + 0.5) / width
    y_H = (torch.arange(height, device=device) + 0.5) / height
    in_BW = (x_W - change.cutout[:, :1]).abs() < _CUTOUT / 2
    in_BH = (y_H - change.cutout[:, 1:]).abs() < _CUTOUT / 2
    return images_BCHW.masked_fill((in_BH[:, :, None] & in_BW[:, None, :])[:, None], 0.0)


@torch.no_grad()
def adapt(p: Tensor, ahead: Tensor, target: float, share: float) -> None:
    """Moves p by `share`: up where the discriminator is further ahead than `target`, else down.

    `ahead` is r_t of the paper, the mean sign of what it says of real images, here of each pair: 0 when it guesses, 1
    when it never errs.
    """
    p.add_((ahead - target).sign() * share).clamp_(0.0, 1.0)


def _rows(*numbers_B: Tensor) -> Tensor:
    """Two rows of a matrix → [B, 3, 3]."""
    none = torch.zeros_like(numbers_B[0])
    return torch.stack([*numbers_B, none, none, none + 1], 1).view(-1, 3, 3)
