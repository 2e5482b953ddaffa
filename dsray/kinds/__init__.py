"""Modalities. A kind is a folder whose files have the same names in every kind; stages know none of them."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

KINDS = ("image",)


class Kind(Protocol):
    """What every kind's package offers."""

    FACTS: "pa.Schema"  # the kind's own fact columns: they follow schema.FACTS
    MEANINGS: dict[str, str]  # signal → what it says and its unit

    def measure(self, payload: bytes | None) -> dict[str, Any]:
        """Any bytes → a fact row: `error` or None, `signature` and every column of FACTS; never raises."""

    def render(self, payload: bytes, spec: dict[str, Any], objects: Sequence[Any] = ()) -> tuple[bytes, list[Any]]:
        """Raw bytes and what is marked in them → the recipe's one canonical form. Raises Undecodable."""

    def thumbnail(self, payload: bytes, side: int) -> bytes | None:
        """A small PNG that stands for the payload in a report, or None."""

    def plan(self, spec: dict[str, Any], seed: int, ids: Sequence[str], copy: int) -> list[dict[str, Any]]:
        """The transform of each row's copy, as JSON numbers, keyed by (seed, row id, copy)."""

    def apply(
        self,
        media: bytes,
        params: dict[str, Any],
        objects: Sequence[Any] = (),
        partner: tuple[bytes, Sequence[Any]] | None = None,
    ) -> tuple[bytes, list[Any]]:
        """Canonical bytes and what is marked in them → the transformed sample in the same format."""

    def to_arrays(self, media: Sequence[bytes]) -> "NDArray[np.uint8]":
        """N canonical samples → one array."""

    def from_arrays(self, array: "NDArray[np.uint8]") -> list[bytes]:
        """One array → N canonical samples."""


def kind(name: str) -> Kind:
    """The kind of that name, imported when first asked for. Raises KeyError."""
    if name not in KINDS:
        raise KeyError(f"no kind {name!r}; there is: {', '.join(KINDS)}")
    return cast(Kind, import_module(f"{__name__}.{name}"))
