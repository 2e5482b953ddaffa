"""Memorisation: synthetic rows that lie nearer to training rows than new rows of the same kind do.

Three measures compare synthetic rows with held-out ones, so they know what is usual. Each looks at the bulk, as its
paper does, and at the tail: a few copies among many rows move no mean. Each is given with the controls that say whether
it can see copies among so many rows at all. Blur brings rows nearer to all others: it raises the alarm of the first
two, not that of the ratios.
"""

from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.errors import DsrayError
from dsray.metrics.cells import cell_of, centres
from dsray.metrics.controls import Control, controls
from dsray.metrics.neighbours import Floats, Rows, flat, nearest
from dsray.metrics.planted import SHARES, needed, planted
from dsray.metrics.ranks import mann_whitney, precedence

Features = NDArray[np.float32]

Z_ALARM = -3.0  # of the bulk: Meehan et al. (2020) call C_T below -3 copying
P_ALARM = 1e-3  # of the tail
TAIL = 0.01  # quantile of the held-out rows below which a synthetic row is suspect

_MOST_CELLS = 10
_CELL_ROWS = 100  # of train, held-out and synthetic rows, on average, before there are more cells
_LEAST_ROWS = 20  # of either side in a cell that counts


class Tail(TypedDict):
    share: float  # of synthetic rows below the 1% quantile of held-out rows
    p: float  # the chance of so many among new rows


class CopyScore(TypedDict):
    c_t: float  # z of the distances to the nearest training row, averaged over cells; ≪ 0: copies
    whole: float  # the same without cells
    cells: int  # that had enough rows
    nearer: float  # share of pairs in which the synthetic row is nearer; 0.5 is usual
    tail: Tail  # of the distances
    alarm: bool
    controls: list[Control]  # the value is c_t


class Authenticity(TypedDict):
    share: float  # of synthetic rows that are authentic
    held_out: float  # of held-out rows: what is usual
    z: float  # of the difference; ≪ 0: copies
    tail: Tail  # of the distances in units of the training row's own nearest distance
    alarm: bool
    controls: list[Control]  # the value is the share


class Nearest(TypedDict):
    median: float  # of d1/d2
    held_out: float
    tail: Tail  # of d1/d2
    alarm: bool
    controls: list[Control]  # the value is the tail's share


class Memorisation(TypedDict):
    c_t: CopyScore
    authenticity: Authenticity
    nearest: Nearest
    n: int  # synthetic rows
    train: int
    held_out: int


class Places(NamedTuple):
    """What the nearest training rows say of each row [N]."""

    distance: Floats  # d1, to the nearest
    ratio: Floats  # d1/d2, to the nearest over to the second nearest
    own: Floats  # d1 over the distance of that training row to its own nearest
    cell: NDArray[np.int64]


def memorisation(synthetic: Rows, train: Rows, held_out: Rows, seed: int = 0) -> Memorisation:
    """All three, on pixels or features. Raises DsrayError when a set is too small to be compared."""
    if len(synthetic) < 1 or len(train) < 2 or len(held_out) < 4:
        raise DsrayError(
            f"Memorisation cannot be told from {len(synthetic)} synthetic, {len(train)} training, "
            f"{len(held_out)} held-out rows.",
            "Collect more, or give `select.split` a larger test.",
        )
    train_MF = np.unique(flat(train), axis=0)  # a row that is there twice must not hide its copies
    cells = min(_MOST_CELLS, min(len(synthetic), len(held_out) // 2, len(train_MF)) // _CELL_ROWS)
    middle_KF = centres(train_MF, max(1, cells), seed)
    copies_PF = planted(train_MF, needed(len(held_out), max(SHARES)), seed)
    made, other, copied = (places(flat(rows), train_MF, middle_KF) for rows in (synthetic, held_out, copies_PF))
    return Memorisation(
        c_t=copy_score(made, other, copied, seed),
        authenticity=authenticity(made, other, copied, seed),
        nearest=nearest_ratios(made, other, copied, seed),
        n=len(synthetic),
        train=len(train),
        held_out=len(held_out),
    )


def places(rows_NF: Features, train_MF: Features, middle_KF: Features) -> Places:
    """Where rows lie among different training rows, and in which of the cells."""
    away_N2, place_N2 = nearest(rows_NF, train_MF, 2)
    near_P, back_N = np.unique(place_N2[:, 0], return_inverse=True)
    own_P = nearest(train_MF[near_P], train_MF, 2)[0][:, 1]  # the first is the row itself
    return Places(
        away_N2[:, 0], away_N2[:, 0] / np.maximum(away_N2[:, 1], 1e-150),
        away_N2[:, 0] / np.maximum(own_P[back_N], 1e-150), cell_of(rows_NF, middle_KF),
    )  # fmt: skip


def copy_score(made: Places, other: Places, copied: Places, seed: int = 0) -> CopyScore:
    """C_T: Mann-Whitney's z of distances synthetic → train against held-out → train (arXiv:2004.05675, eq. 4).

    C_T = Σ P(π) Z(π) / Σ P(π) over the cells π with enough of both, P their share of held-out rows. z grows with √n:
    compare at equal n.
    """

    def score(made_N2: Floats, other_N2: Floats) -> tuple[float, float, int]:
        whole = mann_whitney(made_N2[:, 0], other_N2[:, 0])[1]
        cells = [(made_N2[:, 1] == k, other_N2[:, 1] == k) for k in np.unique(other_N2[:, 1])]
        cells = [(a, b) for a, b in cells if min(a.sum(), b.sum()) >= _LEAST_ROWS]
        if len(cells) < 2:
            return whole, whole, 1
        z_K = [mann_whitney(made_N2[a, 0], other_N2[b, 0])[1] for a, b in cells]
        return float(np.average(z_K, weights=[b.sum() for _, b in cells])), whole, len(cells)

    def judge(made_N2: Floats, other_N2: Floats) -> tuple[float, bool]:
        c_t, whole, _ = score(made_N2, other_N2)
        return c_t, min(c_t, whole) < Z_ALARM or _tail(made_N2[:, 0], other_N2[:, 0])["p"] < P_ALARM

    made_N2, other_N2, copied_P2 = (np.stack([p.distance, p.cell], 1) for p in (made, other, copied))
    c_t, whole, cells = score(made_N2, other_N2)
    return CopyScore(
        c_t=c_t,
        whole=whole,
        cells=cells,
        nearer=1 - mann_whitney(made.distance, other.distance)[0],
        tail=_tail(made.distance, other.distance),
        alarm=judge(made_N2, other_N2)[1],
        controls=controls(judge, copied_P2, other_N2, seed),
    )


def authenticity(made: Places, other: Places, copied: Places, seed: int = 0) -> Authenticity:
    """The share of rows farther from their nearest training row than that one is from its own (arXiv:2102.08921, §4).

    For new real rows the share is no constant, so it is judged against held-out rows: z is that of two proportions.
    """

    def judge(made_N: Floats, other_N: Floats) -> tuple[float, bool]:
        alarm = _proportions(made_N > 1, other_N > 1) < Z_ALARM or _tail(made_N, other_N)["p"] < P_ALARM
        return float((made_N > 1).mean()), alarm

    share, alarm = judge(made.own, other.own)
    return Authenticity(
        share=share,
        held_out=float((other.own > 1).mean()),
        z=_proportions(made.own > 1, other.own > 1),
        tail=_tail(made.own, other.own),
        alarm=alarm,
        controls=controls(judge, copied.own, other.own, seed),
    )


def nearest_ratios(made: Places, other: Places, copied: Places, seed: int = 0) -> Nearest:
    """d1/d2 as in `copies`, with the exact chance of the count in the tail."""

    def judge(made_N: Floats, other_N: Floats) -> tuple[float, bool]:
        tail = _tail(made_N, other_N)
        return tail["share"], tail["p"] < P_ALARM

    tail = _tail(made.ratio, other.ratio)
    return Nearest(
        median=float(np.median(made.ratio)),
        held_out=float(np.median(other.ratio)),
        tail=tail,
        alarm=tail["p"] < P_ALARM,
        controls=controls(judge, copied.ratio, other.ratio, seed),
    )


def _tail(made_N: Floats, other_N: Floats) -> Tail:
    share, p = precedence(made_N, other_N, TAIL)
    return Tail(share=share, p=p)


def _proportions(made_N: NDArray[np.bool_], other_N: NDArray[np.bool_]) -> float:
    """z of the difference of two shares, under one common share."""
    common = float(np.concatenate([made_N, other_N]).mean())
    variance = common * (1 - common) * (1 / len(made_N) + 1 / len(other_N))
    return float((made_N.mean() - other_N.mean()) / variance**0.5) if variance > 0 else 0.0
