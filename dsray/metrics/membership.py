"""Membership inference: can someone who sees only synthetic rows tell which rows the model was trained on?

An attack gives a score to each candidate; members are training rows, the others were never seen. AUC tells of the
average row, the true positive rate at 1% false positives of those who are hit worst (Carlini et al. 2022). An attack
that finds nothing is no proof: the controls say what it finds when copies are planted. Training and held-out rows
must be of one pool: other writers or another camera are told apart as well as members are.
"""

from collections.abc import Callable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from dsray import rng
from dsray.errors import DsrayError
from dsray.metrics.controls import Control, parts
from dsray.metrics.memorisation import P_ALARM, Z_ALARM
from dsray.metrics.neighbours import Floats, Rows, flat, nearest
from dsray.metrics.planted import SHARES, planted, replaced
from dsray.metrics.ranks import delong, precedence

Features = NDArray[np.float32]
Scorer = Callable[[Features, Features, Features], Floats]
"""(candidates, synthetic, reference) → a score of each candidate; large: a member."""

FALSE_POSITIVES = 0.01
MOST_ROWS = 5000  # candidates of either side, reference rows

_BOOTSTRAPS = 200
_WIDTH = 0.25
_CHUNK = 512


class Attack(TypedDict):
    auc: float  # 0.5: no better than chance
    auc_error: float  # standard error (DeLong)
    tpr: float  # at 1% false positives
    tpr_error: float  # standard error (bootstrap)
    p: float  # the chance of so many true positives among rows that were never seen
    members: int
    others: int
    alarm: bool  # AUC three errors above 0.5, or p < 0.001
    controls: list[Control]  # the value is the AUC; what is planted is a share of the synthetic rows


def attack(member_M: Floats, other_N: Floats, seed: int = 0) -> Attack:
    """What given scores are worth, of any attack: `gan_leaks`, `density_ratio`, or D(x) of a discriminator (LOGAN,
    Hayes et al. 2019). The controls say what a share of recognised members would do: they get the best score of all.

    Raises DsrayError when a side has fewer than 4 scores.
    """
    if min(len(member_M), len(other_N)) < 4:
        raise DsrayError(
            f"Membership cannot be told from {len(member_M)} members and {len(other_N)} other rows.",
            "Collect more, or give `select.split` a larger test.",
        )
    mine_N, rest_N = parts(other_N, 2, seed)
    best_P = np.full(len(mine_N), max(float(member_M.max()), float(other_N.max())) + 1.0)
    told = [
        _control(replaced(mine_N, best_P, share, seed) if share else mine_N, rest_N, share) for share in (0.0, *SHARES)
    ]
    return _attack(member_M, other_N, told, seed)


def gan_leaks(candidate_NF: Features, made_MF: Features, reference_RF: Features) -> Floats:
    """Distance to the nearest reference row less that to the nearest synthetic one (arXiv:1909.03935, §4.4).

    The reference takes the place of another model's samples: what is near to everything is no member for that.
    """
    near = [nearest(candidate_NF, rows, 1)[0][:, 0] for rows in (reference_RF, made_MF)]
    return near[0] - near[1]


def density_ratio(candidate_NF: Features, made_MF: Features, reference_RF: Features) -> Floats:
    """log p(x | synthetic) - log p(x | reference), by Gaussian kernels (DOMIAS, van Breugel et al., arXiv:2302.12580).

    One width for both, a part of the median distance of a reference row to its nearest: in many dimensions distances
    differ little, so a copy weighs more than a neighbour only if the kernel is narrow.
    """
    width = _WIDTH * float(np.median(nearest(reference_RF, reference_RF, 1, itself=True)[0]))
    return _log_density(candidate_NF, made_MF, width) - _log_density(candidate_NF, reference_RF, width)


ATTACKS: dict[str, Scorer] = {"gan_leaks": gan_leaks, "density_ratio": density_ratio}


def membership(synthetic: Rows, train: Rows, held_out: Rows, seed: int = 0) -> dict[str, Attack]:
    """Both attacks, on pixels or features. One half of the held-out rows are candidates, the other is the reference.

    At most 5,000 of each are looked at. Raises DsrayError when a set is too small.
    """
    if len(synthetic) < 1 or len(train) < 4 or len(held_out) < 12:
        raise DsrayError(
            f"Membership cannot be told from {len(synthetic)} synthetic, {len(train)} training, "
            f"{len(held_out)} held-out rows.",
            "Collect more, or give `select.split` a larger test.",
        )
    member_MF = flat(train[rng.permutation(seed, "members", len(train))[:MOST_ROWS]])
    unseen_NF = flat(held_out)
    other_NF, reference_RF = (rows[:MOST_ROWS] for rows in parts(unseen_NF, 2, seed))
    made_SF = flat(synthetic)
    return {
        name: _attack(
            score(member_MF, made_SF, reference_RF),
            score(other_NF, made_SF, reference_RF),
            _controls(score, member_MF, unseen_NF, seed),
            seed,
        )
        for name, score in ATTACKS.items()
    }


def _controls(score: Scorer, train_MF: Features, unseen_NF: Features, seed: int) -> list[Control]:
    """A third of the unseen rows stand in for synthetic ones; some of them are replaced by copies of members.

    There are as many members as stand-ins, as after a training whose set is as large as what it makes.
    """
    made_SF, other_NF, reference_RF = (rows[:MOST_ROWS] for rows in parts(unseen_NF, 3, seed))
    member_MF = train_MF[: len(made_SF)]
    copies_PF = planted(member_MF, len(member_MF), seed)
    told = []
    for share in (0.0, *SHARES):
        mixed_SF = replaced(made_SF, copies_PF, share, seed) if share else made_SF
        members, others = (score(rows, mixed_SF, reference_RF) for rows in (member_MF, other_NF))
        told.append(_control(members, others, share))
    return told


def _control(member_M: Floats, other_N: Floats, share: float) -> Control:
    auc, error = delong(member_M, other_N)
    return Control(planted=share, value=auc, alarm=_alarm(auc, error, _tail(member_M, other_N)[1]), n=len(member_M))


def _attack(member_M: Floats, other_N: Floats, told: list[Control], seed: int) -> Attack:
    auc, error = delong(member_M, other_N)
    rate, p = _tail(member_M, other_N)
    return Attack(
        auc=auc,
        auc_error=error,
        tpr=rate,
        tpr_error=_rate_error(member_M, other_N, seed),
        p=p,
        members=len(member_M),
        others=len(other_N),
        alarm=_alarm(auc, error, p),
        controls=told,
    )


def _alarm(auc: float, error: float, p: float) -> bool:
    return bool(auc - 0.5 > -Z_ALARM * error or p < P_ALARM)


def _tail(member_M: Floats, other_N: Floats) -> tuple[float, float]:
    """(true positive rate at 1% false positives, its p)."""
    return precedence(-member_M, -other_N, FALSE_POSITIVES)


def _rate_error(member_M: Floats, other_N: Floats, seed: int) -> float:
    """The bootstrap's standard deviation of the true positive rate; both sides are drawn again."""
    rounds = np.arange(_BOOTSTRAPS, dtype=np.uint64)
    pick = [
        (rng.uniform(seed, name, rounds, draws=len(x)) * len(x)).astype(np.int64)
        for name, x in (("members", member_M), ("others", other_N))
    ]
    found = [_tail_rate(member_M[a], other_N[b]) for a, b in zip(*pick, strict=True)]
    return float(np.std(found))


def _tail_rate(member_M: Floats, other_N: Floats) -> float:
    j = max(1, int(np.ceil(FALSE_POSITIVES * len(other_N))))
    return float((member_M > np.partition(other_N, len(other_N) - j)[len(other_N) - j]).mean())


def _log_density(candidate_NF: Features, rows_MF: Features, width: float) -> Floats:
    """log of the mean of exp(-d²/2h²) [N], up to a constant; h > 0."""
    centre_F = rows_MF.mean(0)
    rows_MF = rows_MF - centre_F
    norm_M = np.square(rows_MF).sum(1)
    scale = 2 * max(width, 1e-12) ** 2
    found = []
    for start in range(0, len(candidate_NF), _CHUNK):
        part_BF = candidate_NF[start : start + _CHUNK] - centre_F
        apart_BM = (np.square(part_BF).sum(1)[:, None] + norm_M - 2 * (part_BF @ rows_MF.T)).clip(0).astype(np.float64)
        least_B = apart_BM.min(1)
        found.append(np.log(np.exp((least_B[:, None] - apart_BM) / scale).mean(1)) - least_B / scale)
    return np.concatenate(found)
