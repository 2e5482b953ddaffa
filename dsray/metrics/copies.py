"""Copies: synthetic rows that lie much nearer to one training row than rows that were never seen do.

Measured is d1/d2, the distance to the nearest over that to the second nearest training row (Lowe 2004): it knows how
crowded a place is, so blur and plain styles, which lie near to many rows at once, are no copies, and a row that hugs a
single one is. Of pixels, it sees what was reproduced in place: a copy that is moved by a pixel escapes it.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray.errors import DsrayError
from dsray.metrics.neighbours import Floats, Rows, flat, nearest
from dsray.metrics.planted import planted

FALSE_ALARMS = 0.005  # of rows that were never seen
PLANTED = 0.05  # share of training rows in the positive control
FOUND = 0.9  # of these, at least, or the score says nothing


class Copies(TypedDict):
    share: float  # of synthetic rows that are copies
    threshold: float  # of d1/d2; below it a row counts as a copy
    n: int  # synthetic rows
    held_out_share: float  # of real rows never seen: the false alarms
    control_planted: int  # training rows with a little noise, as many as 5% of the synthetic
    control_detected: int  # of these


def copies(synthetic: Rows, train: Rows, held_out: Rows, seed: int = 0) -> Copies:
    """The share of copies, with the threshold at which 0.5% of held-out rows are flagged, and a positive control.

    Raises DsrayError when one of the sets is empty.
    """
    if min(len(synthetic), len(train), len(held_out)) == 0:
        raise DsrayError(
            f"No copies can be told: {len(synthetic)} synthetic, {len(train)} training, {len(held_out)} held-out rows.",
            "Collect more, or give `select.split` a larger test.",
        )
    train_MF, other_NF, made_NF = flat(train), flat(held_out), flat(synthetic)
    train_MF = np.unique(train_MF, axis=0)  # a row that is there twice must not hide its copies (d1 = d2)
    reference_N = ratios(other_NF, train_MF)
    threshold = float(np.quantile(reference_N, FALSE_ALARMS, method="lower"))
    copied = planted(train_MF, max(1, round(PLANTED * len(made_NF))), seed)
    return Copies(
        share=float((ratios(made_NF, train_MF) < threshold).mean()),
        threshold=threshold,
        n=len(made_NF),
        held_out_share=float((reference_N < threshold).mean()),
        control_planted=len(copied),
        control_detected=int((ratios(copied, train_MF) < threshold).sum()),
    )


def trusted(found: Copies) -> bool:
    """Whether the positive control was found: else a small share says nothing."""
    return found["control_detected"] >= FOUND * found["control_planted"]


class Suspect(TypedDict):
    synthetic: int  # the row's place
    train: int  # of its nearest training row
    distance: float  # root mean square over their numbers
    ratio: float  # d1/d2


def suspects(synthetic: Rows, train: Rows, count: int) -> list[Suspect]:
    """The synthetic rows with the least d1/d2 and their nearest training rows, the most suspicious first."""
    made_NF, train_MF = flat(synthetic), flat(train)
    train_MF, first_M = np.unique(train_MF, axis=0, return_index=True)
    away_N2, place_N2 = nearest(made_NF, train_MF, 2)
    ratio_N = _ratio(away_N2)
    return [
        Suspect(
            synthetic=int(row),
            train=int(first_M[place_N2[row, 0]]),
            distance=float(away_N2[row, 0] / made_NF.shape[1] ** 0.5),
            ratio=float(ratio_N[row]),
        )
        for row in np.argsort(ratio_N, kind="stable")[:count]
    ]


def ratios(rows_NF: NDArray[np.float32], train_MF: NDArray[np.float32]) -> Floats:
    """d1/d2 of each row [N], in [0, 1]; 1 where there is no second row."""
    if len(train_MF) < 2:
        return np.ones(len(rows_NF))
    return _ratio(nearest(rows_NF, train_MF, 2)[0])


def _ratio(away_N2: Floats) -> Floats:
    return np.asarray(away_N2[:, 0] / np.maximum(away_N2[:, 1], 1e-150))
