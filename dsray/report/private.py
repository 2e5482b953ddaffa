"""What a private model promises of the rows that it was trained on, and what it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNIT = "one training row, added or removed"

NOT_COVERED = (
    "the real and augmented rows of this release, and whatever else is published of them",
    "several rows of one person or thing: each of them costs as much again",
    "which classes there are, how many rows, scores measured against real rows, and pictures of these",
    "choices that people made after looking at the rows: thresholds, presets, which run was kept",
    "another training on the same rows, unless both name the same DSRAY_NOISE_SECRET: it costs as much again",
)


@dataclass(frozen=True)
class Private:
    """(epsilon, delta) of one model, by which accountant, with which noise in units of the sensitivity."""

    model: str
    epsilon: float
    delta: float
    sigma: float
    accountant: str

    @property
    def promise(self) -> str:
        return f"({self.epsilon:.3g}, {self.delta:.0e})-differential privacy"


def documented(private: Private) -> Mapping[str, Any]:
    """As a release's manifest says it."""
    return {
        "epsilon": private.epsilon, "delta": private.delta, "sigma": private.sigma, "accountant": private.accountant,
        "unit": UNIT, "not_covered": list(NOT_COVERED),
    }  # fmt: skip
