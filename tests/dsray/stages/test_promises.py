"""What design §2 promises of every stage: neither halves, nor order, nor shards, workers or retries change a row."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deciding import verdicts as decided
from dsray.engine.exchange import Cluster
from dsray.engine.shards import Work, map_shards
from dsray.kinds import image
from dsray.lake import shards
from dsray.lake.shards import encode
from dsray.lake.store import open_store
from dsray.selection import drop_of
from dsray.stages.augment import copies
from dsray.stages.choose.rules import Judge
from dsray.stages.gather import samples
from dsray.stages.label import labels
from dsray.stages.measure import facts_and_forms
from dsray.stages.moments import merged, moments
from dsray.stages.render import forms
from dsray.stages.select import verdicts
from lakes import rows
from rows import facts_of, lent

DROP = drop_of(image.BOUNDS, image.MEANINGS, image.FLAGS).model_validate(
    {"min_side": 16, "low_information": {"min": 1}}
)
VOTES = [{"pattern": {"column": "caption", "regex": r"digit (\d)"}}, {"column": {"name": "caption"}}]
RENDER = image.Render(side=20, mode="L").model_dump(mode="json")
TRANSFORMS = image.Augment(rotate=12, scale=(0.9, 1.1), perspective=0.05, gamma=(0.8, 1.2), noise=0.03, cutout=0.2)
SPEC = {"copies": 2} | TRANSFORMS.model_dump(mode="json")
SPLIT = {"train": 0.8, "validation": 0.1, "test": 0.1}
CHOICES = {
    "drop": {"blur": {"min_quantile": 0.1}},
    "outliers": {"signals": {"side": 3}},
    "duplicates": {"exact": True, "radius": 3},
    "cap": {"host": 12},
    "balance": {"ratio": 1.2},
    "weights": {"power": 0.5},
    "split": {"by": "page"},
}

Stage = Callable[..., tuple[pa.Table, Any]]


def of_raw(stage: str, raw: pa.Table, careful: bool = False) -> pa.Table:
    """What one stage makes of raw rows, by way of those before it."""
    if stage == "measure":
        return facts_of(raw, careful=careful)
    if stage == "label":
        return labels(raw, labellers=VOTES, combine="majority", careful=careful)[0]
    said = of_raw("measure", raw), of_raw("label", raw)
    judged, _ = verdicts(raw, *said, None, judge=Judge(DROP.ranges(), unlabelled=True), split=SPLIT, seed=7)
    if stage == "select":
        return judged
    rendered, _ = forms(raw, kind_name="image", spec=RENDER, careful=careful)
    if stage == "render":
        return rendered
    gathered, _ = samples({"forms": "f"}, raw, rendered, judged, kind_name="image", texts=["caption"], careful=careful)
    gathered = lent(gathered, rendered)
    if stage == "gather":
        return gathered
    return copies(gathered, kind_name="image", seed=7, spec=SPEC, careful=careful)[0]


STAGES = ("measure", "render", "label", "select", "gather", "augment")
some = st.permutations(range(24)).flatmap(lambda order: st.integers(0, 24).map(lambda rows: order[:rows]))


@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=25)
@given(some, st.floats(0, 1))
def test_a_batch_is_its_halves(raw: pa.Table, stage: str, chosen: list[int], where: float) -> None:
    batch, cut = raw.take(pa.array(chosen, pa.int64())), int(where * len(chosen))
    halves = [of_raw(stage, batch.slice(0, cut)), of_raw(stage, batch.slice(cut))]
    assert of_raw(stage, batch).equals(pa.concat_tables(halves))


@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=15)
@given(st.permutations(range(24)))
def test_the_order_of_rows_changes_none(raw: pa.Table, stage: str, order: list[int]) -> None:
    assert of_raw(stage, raw.take(order)).sort_by("id").equals(of_raw(stage, raw).sort_by("id"))


@pytest.mark.parametrize("stage", ["measure", "render", "label", "gather", "augment"])
def test_a_careful_retry_makes_the_same_bytes(raw: pa.Table, stage: str) -> None:
    assert bytes(encode(of_raw(stage, raw, careful=True))) == bytes(encode(of_raw(stage, raw)))


@settings(max_examples=15)
@given(st.lists(st.integers(0, 24), max_size=4))
def test_moments_are_those_of_all_rows_whatever_the_shards(raw: pa.Table, cuts: list[int]) -> None:
    gathered = of_raw("gather", raw)
    edges = [0, *sorted(cuts), gathered.num_rows]
    parts = [gathered.slice(low, high - low) for low, high in pairwise(edges)]
    whole = merged([moments(gathered, kind_name="image")[0]])
    assert merged([moments(part, kind_name="image")[0] for part in parts]) == whole


@settings(max_examples=12)
@given(order=st.permutations(range(120)), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_select_decides_the_same_whatever_the_order_and_the_shards(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], sizes: list[int]
) -> None:
    lake = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    made = planted()
    expected = decided(lake, made, CHOICES).sort_by("id")
    assert len(set(expected["rule"].to_pylist())) >= 6, "the rules of CHOICES all drop something"
    found = decided(lake, [made[row] for row in order], CHOICES, sizes=(*sizes, 1000))
    assert found.sort_by("id").equals(expected)


@pytest.mark.usefixtures("ray_session")
def test_workers_decide_and_make_the_same_as_one_process(
    raw: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The stages on Ray, in shards of 5, against one call; and again, which adopts what is there."""
    lake = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    parts = [shards.write_named(lake, "raw", raw.slice(low, 5)) for low in range(0, raw.num_rows, 5)]
    works = [
        Work(f"facts/{number}", [(receipt, None)], {"render": True}, [f"forms/{number}"])
        for number, receipt in enumerate(parts)
    ]
    fn = partial(facts_and_forms, kind_name="image", signals={}, spec=RENDER)
    made = map_shards(lake, works, fn, lambda done, left: None)
    assert pa.concat_tables(shards.read(lake, receipt) for receipt in made).equals(of_raw("measure", raw))
    beside = [shards.adopt(lake, f"forms/{number}") for number in range(len(parts))]
    assert pa.concat_tables(shards.read(lake, form) for form in beside if form).equals(of_raw("render", raw))
    assert map_shards(lake, works, fn, lambda done, left: None) == made
    here = decided(lake, planted(), CHOICES, sizes=(50, 1000))
    assert decided(lake, planted(), CHOICES, sizes=(50, 1000), exchange=Cluster()).equals(here)


def planted() -> list[dict[str, Any]]:
    """120 rows: some share bytes, some look alike, one is far larger than the rest."""
    made = rows(120)
    for row in range(0, 12, 2):
        made[row + 1] |= {"digest": made[row]["digest"], "signature": made[row]["signature"]}
    for row in range(20, 30, 2):
        made[row + 1]["signature"] = made[row]["signature"] ^ 0b101
    made[40]["side"] = 1e6
    return made
