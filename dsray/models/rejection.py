"""Rejection: more candidates are drawn than rows are wanted, and some are left out.

Candidates are numbered. Those of a stretch of rows take the classes of these rows in turn, lap after lap, so a number
says its class; each class takes its own candidates one after the other, as many as it needs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dsray import rng
from dsray.errors import DsrayError
from dsray.models.draw import Places
from dsray.models.feed import to_float

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

MOST, MOST_JUDGED = 16, 64
"""Candidates that a row may cost, for each that the share to keep asks for; and where a judge may deny their class."""

PLAIN = 0.5
"""Share of the rows that are the first candidates, whatever their score, where a judge looks for what is unusual."""

_JUDGED = 256  # images at once


@dataclass(frozen=True)
class Kept:
    """The candidates that became rows [N], their images, how many were drawn, and how many left out: for being near,
    for a score of -inf, for scores of others that were greater."""

    index_N: Places
    images_NHWC: Images
    drawn: int
    near: int
    denied: int
    beaten: int


def laps(share: float, judged: bool = False) -> int:
    """How often candidates may take the classes of their rows in turn: rows have rows × laps numbers to themselves."""
    return math.ceil((MOST_JUDGED if judged else MOST) / share)


def keep(
    class_N: Places,
    first: int,
    share: float,
    draw: Callable[[Places, Places], Images],
    near: Callable[[Images], NDArray[np.bool_]] | None,
    score: Callable[[Images, Places, Places], Floats] | None,
    names: Sequence[str],
    judged: bool = False,
) -> Kept:
    """A candidate for each row of `class_N`, numbered from `first` on. Of each class, the first ⌈rows / share⌉ that are
    not `near` and have a `score` above -inf compete, and those of the greatest stay, in the order of their numbers.
    Where the score is `judged`, these are half of the rows, and the first of the others are the other half.

    `draw` gets numbers and classes, `score` images, numbers and classes. Raises DsrayError, with the class's name,
    when nearly none may compete.
    """
    classes = [_Class(number, np.flatnonzero(class_N == number), share, judged) for number in np.unique(class_N)]
    drawn = near_ones = denied = 0
    while todo := [one for one in classes if one.missing()]:
        place_K = np.sort(np.concatenate([one.next(len(class_N), names) for one in todo]))
        class_K = class_N[place_K % len(class_N)]
        images = draw(first + place_K, class_K)
        passed_K = ~near(images) if near else np.ones(len(place_K), bool)
        score_K = score(images, first + place_K, class_K) if score else np.zeros(len(place_K))
        denied_K = passed_K & np.isneginf(score_K)
        drawn, near_ones, denied = (
            drawn + len(place_K),
            near_ones + int((~passed_K).sum()),
            denied + int(denied_K.sum()),
        )
        passed_K &= ~denied_K
        for one in todo:
            here_K = passed_K & (class_K == one.number)
            one.add(place_K[here_K], score_K[here_K], images[here_K])
    place_N = np.empty_like(class_N)
    images_N = np.empty((len(class_N), *images.shape[1:]), np.uint8)
    for one in classes:
        place_N[one.row_M], images_N[one.row_M] = one.best()
    beaten = drawn - near_ones - denied - len(class_N)
    return Kept(first + place_N, images_N, drawn, near_ones, denied, beaten)


class _Class:
    """The rows of one class and the candidates that compete for them."""

    def __init__(self, number: int, row_M: Places, share: float, judged: bool) -> None:
        self.number, self.row_M = number, row_M
        self.contest = math.ceil(len(row_M) / share - 1e-9)
        self.limit = len(row_M) * laps(share, judged)
        self.plain = int(len(row_M) * PLAIN) if judged else 0
        self.tried = self.there = 0
        self.found: list[tuple[Places, Floats, Images]] = []

    def missing(self) -> int:
        return self.contest - self.there

    def next(self, rows: int, names: Sequence[str]) -> Places:
        """The numbers of as many further candidates as are missing."""
        count, many = min(self.missing(), self.limit - self.tried), len(self.row_M)
        if not count:
            what = f" of '{names[self.number]}'" if names else ""
            raise DsrayError(
                f"Of {self.tried:,} candidates{what} only {self.there:,} pass what `reject` asks, and "
                f"{self.contest:,} are needed.",
                "Loosen `reject`, ask for fewer rows, or train longer.",
            )
        turn_K = np.arange(self.tried, self.tried + count)
        self.tried += count
        return self.row_M[turn_K % many] + rows * (turn_K // many)

    def add(self, place_K: Places, score_K: Floats, images: Images) -> None:
        self.found.append((place_K, score_K, images))
        self.there += len(place_K)

    def best(self) -> tuple[Places, Images]:
        place_K, score_K, images = (np.concatenate(parts) for parts in zip(*self.found, strict=True))
        order_K = np.argsort(-score_K, kind="stable")
        scored = len(self.row_M) - self.plain
        order_M = np.sort(np.concatenate([order_K[:scored], np.sort(order_K[scored:])[: self.plain]]))
        return place_K[order_M], images[order_M]


@torch.no_grad()
def realness(judge: nn.Module, images_NHWC: Images, index_N: Places, class_N: Places, seed: int, device: str) -> Floats:
    """[N]: the discriminator's logit plus an exponential variate, keyed by seed and index.

    Keeping those above a threshold t is keeping each with the chance min(1, exp(logit - t)): discriminator rejection
    sampling (Azadi et al., arXiv:1810.06758), which is exact where the logit is the log of real over generated density,
    up to a constant.
    """
    logits = []
    for low in range(0, len(images_NHWC), _JUDGED):
        here = slice(low, low + _JUDGED)
        images_BCHW = to_float(torch.from_numpy(images_NHWC[here]).to(device).permute(0, 3, 1, 2))
        logits.append(judge(images_BCHW, torch.from_numpy(class_N[here]).to(device)).double().cpu().numpy())
    luck_N = -np.log1p(-rng.uniform(seed, "reject", index_N.astype(np.uint64))[:, 0])
    return np.asarray(np.concatenate(logits) + luck_N)
