"""One change among 10,000 inputs: only the shards that it concerns are made again, all others are the same bytes, and
the whole is what a full rebuild makes. The first build is Ray's; those after it do the same in one process.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from changing import holds, release_of, watched
from dsray import build, dataset, keys, planning, recipe
from dsray.errors import GateError
from dsray.forget import order
from dsray.forget.find import Request
from dsray.lake import leases, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store, open_store
from dsray.stages import augment, evaluate, measure
from inline import inline
from judged import pictured
from leftover import left
from rows import png
from runs import Silent

ROWS, TABLES, CLASSES = 10_000, 50, 10
KB = 53  # of a release shard; splits fill 20.5 and 2.5 of them: in no folder (ids, and so splits, are others in each)
# does one row more or less ask for another number of shards


def picture(number: int) -> bytes:
    """8 × 8 pixels, others for each number."""
    return png(np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8))


@dataclass
class Tables:
    """Tables of pictures, a raw shard each, and a file of labels for some of them."""

    root: Path
    numbers: list[list[int]] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)

    def write(self, table: int) -> None:
        columns = {
            "image": pa.array([picture(number) for number in self.numbers[table]], pa.binary()),
            "caption": pa.array([f"digit {number % CLASSES}" for number in self.numbers[table]]),
        }
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        self.root.mkdir(exist_ok=True)
        (self.root / f"t{table:02d}.parquet").write_bytes(out.getvalue())

    def label(self, number: int, label: str) -> None:
        self.labels[number] = label
        lines = [f"{keys.digest(picture(number))},{label}" for number, label in self.labels.items()]
        (self.root.parent / "labels.csv").write_text("\n".join(["digest,label", *lines, ""]))

    def recipe(self) -> recipe.Recipe:
        files = {"path": str(self.root), "media": "image", "texts": {"caption": "caption"}}
        said = {
            "dataset": "many",
            "collect": {"tables": {"files": files}},
            "label": [
                {"file": {"path": str(self.root.parent / "labels.csv")}},
                {"pattern": {"column": "caption", "regex": "digit (\\d)"}},
            ],
            "select": {"drop": {"contrast": {"min": 10.0}}, "duplicates": {"radius": 2}},
            "render": {"side": 8, "mode": "L"},
            "augment": {"copies": 1, "rotate": 10},
            "release": {"shard_mb": KB / 1024},
            **self.said,
        }
        signals = said.get("measure", {}).get("signals", {})
        return recipe.model("image", tuple(signals)).model_validate(said)


@dataclass
class Life:
    """A dataset on a lake, and the manifests of its last build."""

    tables: Tables
    store: Store
    made: dict[str, Manifest] = field(default_factory=dict)

    def build(self, recrawl: str | None = None) -> Counter[str]:
        """Stage → shards that were made, also of those that stand."""
        with watched() as names:
            self.made = build.run(self.tables.recipe(), self.store, Silent(), recrawl=recrawl).made
        return Counter(name.split("/")[1] if name.startswith("shards/") else "raw" for name in names)

    def rows(self) -> set[tuple[str, str]]:
        """(id, label) of the rows that are kept."""
        columns = ["id", "label", "kept"]
        tables = (shards.read(self.store, receipt, columns) for receipt in self.made["select"].shards)
        return {(row["id"], row["label"]) for table in tables for row in table.to_pylist() if row["kept"]}

    def released(self, origin: str) -> set[str]:
        return {name for name in release_of(self.made) if f"/{origin}-" in name}

    def with_rows(self, ids: set[str]) -> set[str]:
        """The shards of the release that hold some of these rows, or copies of them."""
        prefix = self.made["release"].details["prefix"]
        found = set()
        for receipt in self.made["release"].shards:
            table = shards.read(self.store, receipt, ["id", "parent"])
            if ids & {*table["id"].to_pylist(), *table["parent"].to_pylist()}:
                found.add(receipt.name.removeprefix(prefix))
        return found

    def another(self, change: Callable[[], Any], recrawl: str | None = None) -> tuple[Counter[str], set[str], set[str]]:
        """Changes something and builds: stage → shards that were made; the release's shards that are other bytes now;
        and those that hold a row that is new, gone or named otherwise."""
        before, rows, bytes_ = Life(self.tables, self.store, self.made), self.rows(), release_of(self.made)
        change()
        made = self.build(recrawl)
        ids = {row_id for row_id, _ in rows ^ self.rows()}
        after = release_of(self.made)
        other = {name for name in bytes_.keys() | after.keys() if bytes_.get(name) != after.get(name)}
        return made, other, before.with_rows(ids) | self.with_rows(ids)

    def is_a_full_rebuild(self, folder: Path) -> None:
        """Compares with a build on an empty lake."""
        empty = Life(self.tables, open_store(f"file://{folder / 'empty'}"))
        empty.build()
        assert release_of(empty.made) == release_of(self.made)
        holds(self.made, self.store)
        assert {step.state for step in planning.plan(self.tables.recipe(), self.store)} == {"reuse"}


@pytest.fixture(scope="module")
def built(ray_session, tmp_path_factory) -> Life:
    folder = tmp_path_factory.mktemp("many")
    tables = Tables(folder / "tables")
    for table in range(TABLES):
        tables.numbers.append(list(range(table, ROWS, TABLES)))
        tables.write(table)
    tables.label(7, "3")
    life = Life(tables, open_store(f"file://{folder / 'lake'}"))
    made = life.build()
    assert life.made["collect"].counts["in"] == ROWS and len(life.made["collect"].shards) == TABLES
    assert made == {}  # not in this process
    return life


@pytest.fixture
def life(built: Life) -> Iterator[Life]:
    """The same life goes on, change by change, in the order of this file."""
    with inline():
        yield built


ONE = {"label": 1, "select": 1, "gather": 1, "augment": 1}
"""What follows one row of one shard."""


def put(life: Life, table: int, change: Callable[[list[int]], Any]) -> Callable[[], None]:
    def act() -> None:
        change(life.tables.numbers[table])
        life.tables.write(table)

    return act


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (17, lambda numbers: numbers.__setitem__(100, ROWS + 1)),
        (18, lambda numbers: numbers.append(ROWS + 2)),
        (19, lambda numbers: numbers.pop()),
    ],
    ids=["changed", "added", "removed"],
)
def test_a_row(life, table, change, tmp_path):
    made, other, concerned = life.another(put(life, table, change), "all")
    assert made == {"raw": 1, "measure": 1, **ONE}
    assert other == concerned and 1 <= len(other) <= 4 < len(release_of(life.made))
    if table == 19:  # the last of three tables that know nothing of each other
        life.is_a_full_rebuild(tmp_path)


def test_a_threshold(life, tmp_path):
    """It is part of every verdict, so that all are made again, of small columns; what follows concerns one row."""
    facts = [shards.read(life.store, one, ["contrast"])["contrast"].to_pylist() for one in life.made["measure"].shards]
    least, next_ = sorted(value for part in facts for value in part)[:2]
    drop = {"drop": {"contrast": {"min": (least + next_) / 2}}, "duplicates": {"radius": 2}}
    made, other, concerned = life.another(lambda: life.tables.said.update(select=drop))
    assert made == {"select": TABLES, "gather": 1, "augment": 1}
    assert life.made["select"].details["quarantine"]["contrast"] == 1
    assert other == concerned and 1 <= len(other) <= 2
    life.is_a_full_rebuild(tmp_path)


def test_an_augmentation(life, tmp_path):
    made, other, _ = life.another(lambda: life.tables.said.update(augment={"copies": 1, "rotate": 11}))
    assert made == {"augment": TABLES}
    assert other == life.released("augmented")
    life.is_a_full_rebuild(tmp_path)


def test_a_signal(life, tmp_path):
    """Facts are others, so verdicts are made again and come out the same: there the wave ends."""
    version = life.made["release"].details["version"]
    made, other, _ = life.another(lambda: life.tables.said.update(measure={"signals": {"ink": "measured:ink"}}))
    assert made == {"measure": TABLES, "select": TABLES}
    assert not other and life.made["release"].details["version"] == version
    life.is_a_full_rebuild(tmp_path)


def test_a_label(life, tmp_path):
    made, other, concerned = life.another(lambda: life.tables.label(1234, "7"))
    assert made == ONE
    assert other == concerned and 1 <= len(other) <= 2
    life.is_a_full_rebuild(tmp_path)


@pytest.mark.parametrize("stage", [measure, augment], ids=lambda module: module.__name__.split(".")[-1])
def test_a_version_of_a_stage_that_makes_the_same(life, stage, monkeypatch, tmp_path):
    monkeypatch.setattr(stage, "VERSION", stage.VERSION + 1)
    version = life.made["release"].details["version"]
    made, other, _ = life.another(lambda: None)
    assert made == {stage.__name__.split(".")[-1]: TABLES}
    assert not other and life.made["release"].details["version"] == version


def with_a_model(life: Life, twin: Path, **how: Any) -> recipe.Recipe:
    """The recipe with another source, which holds a twin, and a small model."""
    wanted = life.tables.recipe().model_dump(mode="json")
    wanted["collect"]["loose"] = {"files": {"path": str(twin.parent)}}
    return recipe.of(
        wanted
        | {
            "synthesize": {"vae": {"preset": "tiny", "rows": 24, **how}},
            "evaluate": {"gates": {"usefulness": {"min": 0.4}}},
        }
    )


def forget(store: Store, ids: tuple[str, ...]) -> order.Ended:
    with leases.alone(store, "dsray forget") as lease:
        filed = order.file(store, order.look(store, Request(ids=ids), "a letter", "the tests"))
        ended = order.carry_out(store, filed, lease)
    order.rebuild(store, ended, lambda name: order.build_again(store, name, Silent()))
    return ended


def test_three_rows_are_forgotten(life, monkeypatch, tmp_path):
    """One has a twin in another source, all have copies, and a model learned from them that the recipe would keep:
    nothing is left of them, only the shards that held them are others, and the model is refused."""
    monkeypatch.setattr(evaluate, "run", pictured)
    twin = tmp_path / "loose" / "twin.png"
    twin.parent.mkdir()
    twin.write_bytes(picture(4321))
    life.made = build.run(with_a_model(life, twin, retrain="never"), life.store, Silent(), recrawl="all").made
    was = release_of(life.made)
    rows = [
        row for one in dataset.find(life.store, "many").shards() for row in shards.read(life.store, one).to_pylist()
    ]
    raw = [row for one in life.made["collect"].shards
           for row in shards.read(life.store, one, ["id", "digest"]).to_pylist()]  # fmt: skip
    twins = {row["id"] for row in raw if row["digest"] == keys.digest(twin.read_bytes())}
    learned = sorted({row["parent"] for row in rows if row["parent"]} - twins)[:2]
    gone = {*twins, *learned}
    texts = gone | {row["id"] for row in rows if row["parent"] in gone}
    data = {row["image"]["bytes"] for row in rows if row["id"] in texts} | {twin.read_bytes()}
    folder = Path(life.store.url.removeprefix("file://"))
    held = {name for name in life.with_rows(texts) if "/vae-" not in name}
    assert len(twins) == 2 and len(texts) >= 4 + 2
    assert len(left(folder, texts, data)) > 20  # the scan finds what is there

    ended = forget(life.store, (*learned, min(twins)))
    assert left(folder, texts, data) == []
    assert isinstance(ended.failed["many"], GateError) and "vae" in str(ended.failed["many"])
    now = release_of(build.run(with_a_model(life, twin), life.store, Silent()).made)
    other = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name) and "/vae-" not in name}
    assert left(folder, texts, data) == []
    assert other == held and 1 <= len(other) <= 8 < len(was)
