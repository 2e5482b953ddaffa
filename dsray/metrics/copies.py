"""Copies: synthetic rows that lie much nearer to one training row than rows that were never seen do.

Measured is d1/d2, the distance to the nearest over that to the second nearest training row (Lowe 2004): it knows how
crowded a place is, so blur and plain styles, which lie near to many rows at once, are no copies, and a row that hugs a
single one is. Of pixels, it sees what was reproduced in place: a copy that is moved by a pixel escapes it.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.errors import DsrayError

Rows = NDArray[Any]
"""[N, ...] numbers of one kind: pixels or features; distances are Euclidean over all but the first axis."""

Floats = NDArray[np.float64]

FALSE_ALARMS = 0.005  # of rows that were never seen
PLANTED = 0.05  # share of training rows in the positive control
NOISE = 0.03  # on planted rows, as a share of the range of the values

_CHUNK = 512


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
    train_MF, other_NF, made_NF = (
        rows.reshape(len(rows), -1).astype(np.float32) for rows in (train, held_out, synthetic)
    )
    train_MF = np.unique(train_MF, axis=0)  # a row that is there twice must not hide its copies (d1 = d2)
    reference_N = ratios(other_NF, train_MF)
    threshold = float(np.quantile(reference_N, FALSE_ALARMS, method="lower"))
    planted = _planted(train_MF, max(1, round(PLANTED * len(made_NF))), seed)
    return Copies(
        share=float((ratios(made_NF, train_MF) < threshold).mean()),
        threshold=threshold,
        n=len(made_NF),
        held_out_share=float((reference_N < threshold).mean()),
        control_planted=len(planted),
        control_detected=int((ratios(planted, train_MF) < threshold).sum()),
    )


def ratios(rows_NF: NDArray[np.float32], train_MF: NDArray[np.float32]) -> Floats:
    """d1/d2 of each row [N], in [0, 1]; 1 where there is no second row."""
    if len(train_MF) < 2:
        return np.ones(len(rows_NF))
    centre_F = train_MF.mean(0)  # distances don't change, rounding errors do
    train_MF = train_MF - centre_F
    norm_M = np.square(train_MF).sum(1)
    found = []
    for start in range(0, len(rows_NF), _CHUNK):
        part = rows_NF[start : start + _CHUNK] - centre_F
        apart = np.square(part).sum(1)[:, None] + norm_M - 2 * (part @ train_MF.T)
        nearest = np.argpartition(apart, 1, axis=1)[:, :2]
        exact = np.square((part[:, None] - train_MF[nearest]).astype(np.float64)).sum(2)  # no cancellation
        exact.sort(axis=1)
        found.append(np.sqrt(exact[:, 0] / np.maximum(exact[:, 1], 1e-300)))
    return np.concatenate(found)


def _planted(train_MF: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Training rows with a little noise: what a model that memorises would make."""
    count = min(count, len(train_MF))
    rows = rng.permutation(seed, "planted copies", len(train_MF))[:count]
    noise = rng.normal(seed, "planted noise", rows.astype(np.uint64), draws=train_MF.shape[1])
    return (train_MF[rows] + NOISE * float(np.ptp(train_MF)) * noise).astype(np.float32)
