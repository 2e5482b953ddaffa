"""What a recipe says of generative models and the rows that they draw."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dsray.collection import ByLabel, Model

Family = Literal["dpgan", "gan", "merf", "vae"]


class Reject(Model):
    """Candidates that are drawn and left out; others take their place."""

    discriminator: float | None = Field(None, ge=0.01, lt=1, description="Share of the candidates to keep: those that "
                                        "a GAN's discriminator takes for real.")  # fmt: skip
    classifier: float | None = Field(None, ge=0.01, le=1, description="Share of the candidates to keep: of those that "
                                     "a classifier of the training rows takes for their own class, half the least "
                                     "sure and half as they come; not for private models.")  # fmt: skip
    neighbours: float | None = Field(None, gt=0, lt=1, description="Leave out what is nearer to a training row than "
                                     "this times its distance to the next one; not for private models.")  # fmt: skip

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.discriminator and self.classifier:
            raise ValueError("`discriminator` and `classifier` each keep a share of their own: choose one")
        return self


class Changed(Model):
    """Train again when enough is new."""

    changed: float = Field(gt=0, lt=1, description="Train again when more than this share of the training rows (those "
                           "added, removed and changed, of all there were or are) is not the same.")  # fmt: skip


class Synthesis(Model):
    """One generative model: trained on the real training rows, then sampled."""

    preset: str = Field("quick", description="A preset of the architecture.")
    rows: int = Field(1000, ge=1, description="Synthetic rows; with `classes` their sum.")
    workers: int | tuple[int, int] = Field(1, description="Training workers; or `[least, most]`, which join and leave "
                                           "as the cluster has room. They don't change what is made.")  # fmt: skip
    seed: int | None = Field(None, ge=0, description="Seed of training and sampling; default: the recipe's.")
    truncation: float = Field(1, gt=0, le=1, description="Scale of the noise: below 1, better and more alike.")
    classes: ByLabel[Annotated[int, Field(ge=0)]] = Field({}, description="Label → rows; without it all alike.")
    reject: Reject = Field(Reject(), description="Candidates that do not become rows.")
    retrain: Literal["always", "never"] | Changed = Field("always", description="When training rows changed: train "
                                                          "again, or keep the model of the last build: never, or "
                                                          "`{changed: 0.05}`.")  # fmt: skip
    warm: bool = Field(False, description="Train again from the networks of the last build's model, not from nothing; "
                       "not for private models.")  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _summed(cls, data: Any) -> Any:
        classes = data.get("classes") if isinstance(data, dict) else None
        counts = list(classes.values()) if isinstance(classes, dict) else []
        if not counts or not all(isinstance(count, int) for count in counts):
            return data
        if data.get("rows", sum(counts)) != sum(counts):
            raise ValueError(f"`rows` says {data['rows']}, but `classes` add up to {sum(counts)}: leave `rows` out")
        return {**data, "rows": sum(counts)}

    @field_validator("workers", mode="before")
    @classmethod
    def _some(cls, workers: Any) -> Any:
        pair = list(workers) if isinstance(workers, list | tuple) else [workers, workers]
        if [type(number) for number in pair] != [int, int] or not 1 <= pair[0] <= pair[1]:
            raise ValueError("give a number from 1, or `[least, most]` of them")
        return workers
