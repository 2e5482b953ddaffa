"""Invented records: Hypothesis strategies of what a crawl knows and what a round learned."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from crawlers.known import AGAIN, DONE, HELD, ITEM, NEW, PAGE, Known

STATES = (HELD, NEW, AGAIN, DONE)
KINDS = (PAGE, ITEM)
KEYS = (1, 2, 3, 2**63 + 1, 2**64 - 1)
"""Few, so that they meet; with all low bits, and too large for a signed number."""


@st.composite
def record(draw: Any, states: Sequence[str] = STATES, keys: Sequence[int] = KEYS) -> Known:
    """A record of any state. A key is always the same kind and URL, as in a crawl."""
    key = draw(st.sampled_from(keys))
    some = st.one_of(st.none(), st.sampled_from(["p", "q"]))
    return Known(
        f"http://h{key % 5}.org/{key}", KINDS[key % 2], page=draw(some), depth=draw(st.integers(0, 3)),
        fields=draw(some), state=draw(st.sampled_from(states)), outcome=draw(some), tries=draw(st.integers(0, 2)),
        due=draw(st.one_of(st.none(), st.floats(0, 100))), asked=draw(st.one_of(st.none(), st.floats(0, 100))),
        etag=draw(some), modified=draw(some), digest=draw(some), row=draw(some), key=key,
        names=draw(st.lists(st.sampled_from(KEYS), max_size=2)) or (),
    )  # fmt: skip


def known_ones(states: Sequence[str] = STATES) -> st.SearchStrategy[list[Known]]:
    """What is known: one record a key, sorted by key."""
    return st.lists(record(states), unique_by=lambda one: one.key, max_size=6).map(
        lambda found: sorted(found, key=lambda one: one.key)
    )


def logs() -> st.SearchStrategy[list[list[Known]]]:
    """What the fetch processes of a round logged."""
    return st.lists(st.lists(record(), max_size=6), max_size=3)
