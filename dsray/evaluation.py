"""What a recipe says of scores and gates."""

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from dsray.collection import Model

Score = Literal["kid", "prdc", "sliced", "detection", "memorisation", "membership", "fid"]
"""What can be measured beyond usefulness, distance and copies, which always are."""

Gate = Literal[
    "usefulness", "distance", "copies", "kid", "precision", "recall", "density", "coverage", "sliced", "detection",
    "c_t", "authenticity", "nearest", "gan_leaks", "gan_leaks_tpr", "density_ratio", "density_ratio_tpr", "fid",
]  # fmt: skip

_OF: dict[str, Score] = {
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "prdc"),
    **dict.fromkeys(("c_t", "authenticity", "nearest"), "memorisation"),
    **dict.fromkeys(("gan_leaks", "gan_leaks_tpr", "density_ratio", "density_ratio_tpr"), "membership"),
    **{score: score for score in get_args(Score)},
}
"""Gate → the score that its number is of."""


class Limit(Model):
    """A gate: the number must be at least `min` and at most `max`; with neither, nothing is asked."""

    min: float | None = None
    max: float | None = None

    def words(self) -> str:
        bounds = (("min", self.min), ("max", self.max))
        return " ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def holds(self, value: float) -> bool:
        """Never for what is no number."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max) and value == value


GATES: dict[Gate, Limit] = {"usefulness": Limit(min=0.85), "distance": Limit(max=0.1), "copies": Limit(max=0.02)}
"""Asked unless the recipe says otherwise."""


class Evaluate(Model):
    """What is measured of synthetic rows, and what a release asks of the numbers (docs/metrics.md)."""

    scores: list[Score] = Field(
        ["kid", "prdc", "sliced", "detection", "memorisation", "membership"],
        description="Measured beside usefulness, distance and copies: kid; prdc: precision, recall, density, coverage; "
        "sliced (Wasserstein); detection; memorisation; membership; fid, which needs Inception's weights.",
    )
    gates: dict[Gate, Limit] = Field(
        GATES,
        description="Limits of numbers; what is not named keeps its default, `{}` asks nothing. usefulness: accuracy "
        "of train-on-synthetic over train-on-real; distance: what the Fréchet distance exceeds its real-against-real "
        "floor by, over the variance of real rows; copies: share of copied rows; sliced: over its floor; detection, "
        "gan_leaks, density_ratio: AUC; nearest: share in the tail. A number whose control fails does not pass.",
    )
    seeds: int = Field(3, ge=1, le=20, description="Classifiers trained for each usefulness score.")

    @field_validator("gates")
    @classmethod
    def _or_default(cls, named: dict[Gate, Limit]) -> dict[Gate, Limit]:
        return GATES | named

    @model_validator(mode="after")
    def _measured(self) -> "Evaluate":
        for gate, limit in self.gates.items():
            score = _OF.get(gate)
            if limit.words() and score and score not in self.scores:
                raise ValueError(f"the gate '{gate}' needs the score {score}, which is not among `scores`")
        return self
