"""dsray.cost: what a plan says is what the run then makes; nothing is reckoned that was never measured."""

import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsray import build, cost, planning
from dsray import recipe as recipes
from dsray.cost import Estimate
from dsray.engine import connect
from dsray.lake import shards
from dsray.planning import Planned
from dsray.recipe import Recipe
from inline import inline
from rows import drawing, png
from runs import Silent

ARCHIVES, EACH = 4, 6


def archive(folder: Path, number: int, first: int) -> None:
    with zipfile.ZipFile(folder / f"{number}.zip", "w") as file:
        for at in range(EACH):
            file.writestr(zipfile.ZipInfo(f"{at}.png"), png(drawing(first + at, 32)))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Four archives: four raw shards."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(ARCHIVES):
        archive(folder, number, 100 * number)
    said = {
        "dataset": "drawings",
        "collect": {"folder": {"files": {"path": str(folder), "include": ["*.zip"]}}},
        "select": {"drop": {"unlabelled": False}, "split": {"train": 1, "validation": 0, "test": 0}},
        "render": {"side": 32, "mode": "L"},
        "augment": {"copies": 2},
    }
    return recipes.model().model_validate(said)


def changed(recipe: Recipe, **values) -> Recipe:
    return recipes.model().model_validate(recipe.model_dump(exclude_unset=True) | values)


def estimates(recipe, store):
    return cost.estimates(planning.plan(recipe, store), recipe, store)


def test_what_was_never_made_has_no_estimate(recipe, store):
    found = estimates(recipe, store)
    assert cost.told(found["collect"]) == "no estimate: not made here before"
    assert cost.sentence(found) == "No estimate: this dataset was never made here."


def test_nothing_to_do_costs_nothing(recipe, store):
    with inline():
        build.run(recipe, store, Silent())
    assert estimates(recipe, store) == {} and cost.sentence({}) == "Nothing to do."


def test_how_long_ray_takes_to_start_is_measured(recipe, store, monkeypatch):
    @contextmanager
    def connected(address, cpus):
        time.sleep(0.05)
        yield

    assert cost.start(recipe, store) == 0
    with inline(), monkeypatch.context() as patch:  # undone before inline's own
        patch.setattr(connect, "connected", connected)
        build.run(recipe, store, Silent())
    assert cost.start(recipe, store) >= 0.05


def test_another_form_is_made_of_all_rows_and_takes_what_it_took(recipe, store):
    with inline():
        build.run(recipe, store, Silent())
        build.run(changed(recipe, render={"side": 30, "mode": "L"}), store, Silent())  # here render is measured
        wanted = changed(recipe, render={"side": 28, "mode": "L"})
        found = estimates(wanted, store)
        rows = ARCHIVES * EACH
        assert found.keys() == {"render", "gather", "augment", "release"}
        assert (found["render"].rows, found["render"].shards, found["render"].reused) == (rows, ARCHIVES, 0)
        assert not found["render"].most and found["gather"].most
        assert all(type(one.shards) is int for one in found.values()), "JSON has numbers"
        assert (found["gather"].rows, found["augment"].rows, found["release"].rows) == (rows, 2 * rows, 3 * rows)
        spent = build.spent(wanted, store)
        assert {name: one.seconds for name, one in found.items()} == pytest.approx(
            {name: spent[name]["seconds"] for name in found}
        )
        made = build.run(wanted, store, Silent()).made
    for name, one in found.items():
        assert len(made[name].shards) == one.shards
        assert one.bytes == pytest.approx(sum(receipt.bytes for receipt in made[name].shards), rel=0.3)


def test_one_new_shard_of_four_is_a_quarter_of_the_work(recipe, store, tmp_path):
    with inline():
        build.run(recipe, store, Silent())
        archive(tmp_path / "pictures", 0, 9000)
        build.run(recipe, store, Silent(), recrawl="all", until="collect")
        found = estimates(recipe, store)
    assert (found["measure"].rows, found["measure"].shards, found["measure"].reused) == (EACH, 1, ARCHIVES - 1)
    assert (found["label"].shards, found["label"].reused) == (1, ARCHIVES - 1)
    assert (found["select"].rows, found["gather"].rows, found["release"].rows) == (EACH, EACH, 3 * ARCHIVES * EACH)
    assert all(found[name].most for name in ("select", "gather", "release")), "what waits may be less"
    spent = build.spent(recipe, store)
    assert found["select"].seconds == pytest.approx(spent["select"]["seconds"]), "it looks through all rows"
    assert found["measure"].seconds == pytest.approx(spent["measure"]["seconds"] / ARCHIVES)


def test_shards_that_another_recipe_made_are_reused(recipe, store):
    with inline():
        build.run(recipe, store, Silent(), until="measure")
        other = changed(recipe, dataset="others")
        found = estimates(other, store)
    assert "measure" not in found and "collect" not in found
    assert (found["render"].shards, found["render"].reused) == (0, ARCHIVES), "measure made them on its way"


def test_many_names_are_looked_for_in_listings(store, monkeypatch):
    names = [shards.name_of("measure", f"{number:064x}"[::-1]) for number in range(60)]
    for name in names[::3]:
        store.create(name, b"one")
    assert shards.there(store, names) == set(names[::3])
    monkeypatch.setattr(shards, "_FEW", 10)
    assert shards.there(store, names) == set(names[::3]) and shards.there(store, []) == set()


def test_a_sentence_says_what_nobody_measured():
    known, unknown = Estimate(1200, 3, 9, 34_000_000, 125.0, False), Estimate(10, 1, 0, None, None, True)
    assert cost.told(known) == "about 1,200 rows in 3 shards, 34 MB, 2 min"
    said = cost.sentence({"measure": known, "render": unknown})
    assert said == (
        "Would make up to 1,210 rows in 4 shards, 34 MB, 2 min, in 2 steps, without the time of render: "
        "never measured here."
    )
    assert cost.sentence({"measure": known}, 4.2).endswith("2 min, in 1 step; Ray's start takes 4 s more.")
    assert cost.sentence({"measure": known}, 0.2) == cost.sentence({"measure": known})
    told = cost.document([Planned("measure", "make", "never made"), Planned("label", "reuse", "")], {"measure": known})
    assert [step["name"] for step in told["steps"]] == ["measure", "label"]
    assert told["steps"][0]["seconds"] == told["total"]["seconds"] == 125.0 and not told["up_to_date"]


def test_rules_that_let_more_in_are_no_more_than_up_to_all(recipe, store):
    split = {"train": 1, "validation": 0, "test": 0}
    drop = {"unlabelled": False, "blur": {"min_quantile": 0.5}}
    strict = changed(recipe, select={"drop": drop, "split": split})
    with inline():
        made = build.run(strict, store, Silent()).made
        assert 0 < made["select"].counts["kept"] < ARCHIVES * EACH
        found = estimates(recipe, store)
        then = build.run(recipe, store, Silent()).made
    for name in ("select", "gather", "augment", "release"):
        assert sum(one.rows for one in then[name].shards) <= found[name].rows, name
