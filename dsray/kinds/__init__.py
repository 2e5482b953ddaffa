"""Modalities. A kind is a package whose files have the same names in every kind; stages know none of them."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from dsray.collection import Model

KINDS = ("image",)

Object = dict[str, Any]
"""Something marked in a sample (schema.OBJECT): label, x, y, width, height, polygon, in units of the sample."""

Marked = tuple[bytes, list[Object]]
"""A sample and what is marked in it."""

Frame = list[float]
"""Where a canonical form comes from in its payload, in numbers that only its kind reads."""


Touch = Callable[["NDArray[Any]"], "NDArray[Any]"]
"""A step of the recipe's own, on the array of one sample: it keeps shape and type."""


class Undecodable(Exception):
    """Bytes that are nothing of their kind. `reason`: a word for reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Kind(Protocol):
    """What every kind's package offers."""

    FACTS: "pa.Schema"  # the kind's own fact columns: they follow schema.FACTS
    MEANINGS: dict[str, str]  # signal → what it says and its unit
    FLAGS: dict[str, tuple[str, bool]]  # boolean fact → what it says, and whether such rows are dropped by default
    BOUNDS: dict[str, tuple[str, str, str]]  # shorthand of select.drop → signal, `min` or `max`, what it says
    QUALITY: str  # the signal by which the best of duplicates stays: more is better
    COLUMN: str  # the name of a release's column of samples
    FEATURE: dict[str, Any]  # Hugging Face's description of it
    Render: "type[Model]"  # the recipe's `render`
    Augment: "type[Model]"  # the transforms of the recipe's `augment`

    def decode(self, payload: bytes) -> Any:
        """Any bytes → what `measure` and `render` look at. Raises Undecodable, and nothing else."""

    def measure(self, decoded: Any, own: "Mapping[str, Callable[[NDArray[Any]], float]]" = ...) -> dict[str, Any]:
        """A fact row: `signature`, every column of FACTS, and the signals of the recipe's own, which get the decoded
        array. Raises only what those raise."""

    def render(self, decoded: Any, spec: dict[str, Any], own: Sequence[Touch] = ...) -> tuple[bytes, Frame]:
        """The recipe's one canonical form, and where in the payload it comes from. The steps of `own` get the canonical
        array, one after the other, before it is encoded."""

    def place(self, objects: Sequence[Object], frame: Frame) -> list[Object]:
        """Objects of a payload where they are in its canonical form; those out of sight are left out."""

    def extension(self, spec: dict[str, Any]) -> str:
        """The ending of a rendered sample's file name."""

    def thumbnail(self, payload: bytes, side: int) -> bytes | None:
        """A small PNG that stands for the payload in a report, or None."""

    def plan(self, spec: dict[str, Any], seed: int, ids: Sequence[str], copy: int) -> list[dict[str, Any]]:
        """The transform of each row's copy, as JSON numbers, keyed by (seed, row id, copy). `mix` in it asks for a
        partner."""

    def apply(
        self,
        media: bytes,
        params: dict[str, Any],
        objects: Sequence[Object] = ...,
        partner: Marked | None = ...,
        own: Sequence[Touch] = ...,
    ) -> Marked:
        """Canonical bytes → the transformed sample in the same format, and where its objects are now. The steps of
        `own` get the transformed array, one after the other."""

    def to_arrays(self, media: Sequence[bytes]) -> "NDArray[np.uint8]":
        """N canonical samples → one array, channels last."""

    def from_arrays(self, array: "NDArray[np.uint8]") -> list[bytes]:
        """One array → N canonical samples."""


def code(name: str) -> list[str]:
    """The modules whose source is part of what a kind makes; dsray's own kinds have versions instead."""
    return [] if name in KINDS else [name]


def kind(name: str) -> Kind:
    """The kind of that name, or the module of that name that is one, imported when first asked for. Raises KeyError."""
    if name in KINDS:
        return cast(Kind, import_module(f"{__name__}.{name}"))
    from dsray import plugin

    found = plugin.module(name)
    if found is None:
        raise KeyError(f"there is no kind '{name}': neither {', '.join(KINDS)} nor a module that can be imported")
    members = {member for member in vars(Kind) if not member.startswith("_")} | set(Kind.__annotations__)
    if lacking := sorted(member for member in members if not hasattr(found, member)):
        raise KeyError(f"the module '{name}' is no kind: it lacks {', '.join(lacking)}")
    return cast(Kind, found)
