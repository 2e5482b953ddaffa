"""Controls: what an alarm says where the truth is known. One that cries at new rows, or misses copies, is no alarm.

Real rows that were never seen stand in for synthetic ones; with none of them replaced by copies there must be silence,
with 5% and 20% replaced there must be an alarm. The synthetic rows themselves take no part: the controls say what the
metric can see with so many rows, not what the model did.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.metrics.planted import SHARES, replaced

Judge = Callable[[NDArray[Any], NDArray[Any]], tuple[float, bool]]
"""(stand-ins for synthetic rows, held-out rows) → (value, alarm)."""


class Control(TypedDict):
    planted: float  # share of copies among the stand-ins; 0 is the negative control
    value: float  # of the metric
    alarm: bool  # must be: planted > 0
    n: int  # stand-ins


def controls(judge: Judge, copies_P: NDArray[Any], held_out_N: NDArray[Any], seed: int) -> list[Control]:
    """The negative control and the positive ones, with one half of the held-out rows against the other."""
    made_N, other_N = parts(held_out_N, 2, seed)
    told = []
    for share in (0.0, *SHARES):
        value, alarm = judge(replaced(made_N, copies_P, share, seed) if share else made_N, other_N)
        told.append(Control(planted=share, value=value, alarm=alarm, n=len(made_N)))
    return told


def trusted(told: list[Control]) -> bool:
    """Silence where nothing was planted, an alarm wherever something was."""
    return all(control["alarm"] == (control["planted"] > 0) for control in told)


def parts(rows_N: NDArray[Any], count: int, seed: int) -> list[NDArray[Any]]:
    """The rows in `count` parts of about one size, at random."""
    return [rows_N[places] for places in np.array_split(rng.permutation(seed, "controls", len(rows_N)), count)]
