"""Manifests: the first one stands, rows are conserved, and what cannot be read is named."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.errors import ConservationError, LakeError
from dsray.lake import manifests
from dsray.lake.manifests import Manifest, conserved
from dsray.lake.shards import Receipt
from dsray.lake.store import Missing, Store

KEY = "ab" * 32
MADE = Manifest(
    stage="measure",
    version=3,
    key=KEY,
    params={"signals": ["blur"], "min": 0.5, "to": None},
    inputs=["00", "11"],
    shards=[Receipt("shards/measure/aa/x.parquet", "22", 7, 99, {"kept": 5})],
    counts={"in": 7, "kept": 5, "quarantined": 2},
    details={"curve": [[1, 0.25]], "note": "größer"},
)


def test_what_is_published_is_found(store: Store):
    assert manifests.find(store, "measure", KEY) is None
    assert manifests.publish(store, MADE) == MADE
    assert manifests.find(store, "measure", KEY) == MADE
    assert json.loads(store.read(f"stages/measure/{KEY}.json"))["format"] == 1


def test_of_many_drivers_the_first_stands_and_all_go_on_with_it(store: Store):
    with ThreadPoolExecutor(8) as pool:
        stands = list(pool.map(lambda i: manifests.publish(store, replace(MADE, details={"driver": i})), range(16)))
    assert len({m.details["driver"] for m in stands}) == 1
    assert manifests.find(store, "measure", KEY) == stands[0]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_rows_are_conserved(kept: int, quarantined: int, came: int):
    counts = {"in": came, "kept": kept, "quarantined": quarantined}
    if came == kept + quarantined:
        conserved("s", counts)
    else:
        with pytest.raises(ConservationError, match=f"{came} in, {kept} kept, {quarantined} quarantined"):
            conserved("s", counts)


@pytest.mark.parametrize(
    "counts", [{"in": 5, "kept": 5}, {"in": 5, "quarantined": 5}, {"in": 5, "kept": 3, "quarantined": 1}]
)
def test_a_stage_that_loses_rows_publishes_nothing(store: Store, counts: dict[str, int]):
    with pytest.raises(ConservationError):
        manifests.publish(store, replace(MADE, counts=counts))
    assert list(store.list("")) == []


def test_a_stage_without_rows_in_has_nothing_to_conserve(store: Store):
    made = replace(MADE, counts={"images": 12})
    assert manifests.publish(store, made) == made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 1, "shards": [{"name": 1}]}',
        b"\xff\xfe",
        b'{"format": "x", "shards": []}',
    ],
)
def test_a_broken_manifest_is_named_with_what_to_do(store: Store, data: bytes):
    store.create(f"stages/measure/{KEY}.json", data)
    with pytest.raises(LakeError, match=f"stages/measure/{KEY}.json is not a manifest.*Delete it") as caught:
        manifests.find(store, "measure", KEY)
    assert not isinstance(caught.value, Missing)


def test_a_newer_format_asks_for_an_update(store: Store):
    store.create(f"stages/measure/{KEY}.json", b'{"format": 2, "what": "ever"}')
    with pytest.raises(LakeError, match=r"newer dsray.*Update dsray"):
        manifests.find(store, "measure", KEY)
