"""Three rows are forgotten, one with a near-duplicate, one with augmented children, one that a model learned from: no
byte of them is left, nothing else changed, and nothing brings them back."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fetching import AGENT, ITEM, Site, image, page

from dsray import build, dataset, recipe
from dsray.cli import main
from dsray.diff import compare
from dsray.errors import DsrayError, GateError
from dsray.forget import order
from dsray.forget.find import Request
from dsray.lake import leases, shards, tombstones
from dsray.stages import evaluate, retrain, versions
from inline import inline
from judged import pictured
from leftover import left
from rows import drawing, png
from runs import Silent, lake

PICTURES = [f"/{number % 3}/{number}.png" for number in range(72)]
DOUBLED = PICTURES[7]
NEAR = "/1/near.png"
REASON = "a letter of 3 May"


@dataclass
class World:
    """A site, a folder of files, a recipe that reads both, and the lake of its first build."""

    site: Site
    answers: dict
    files: Path
    wanted: recipe.Recipe
    folder: Path
    plain: str = ""  # a training picture of the site with an augmented child
    file: str = ""  # and one of the folder

    def url(self, path: str) -> str:
        return self.site.url[:-1] + path

    def copy(self, folder: Path) -> Path:
        shutil.copytree(self.folder, folder)
        return folder


def nudged(seed: int) -> bytes:
    """The drawing, a little brighter in one corner."""
    pixels = drawing(seed, 48).copy()
    pixels[0, 0] ^= 3
    return png(pixels)


def pages(pictures: list[str]) -> dict:
    names = {f"/page/{number}": page(*pictures[12 * number : 12 * number + 12]) for number in range(7)}
    return {"/": page(links=tuple(names)), **names}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("forget")
    answers = pages([*PICTURES, NEAR]) | {path: image(png(drawing(n, 48))) for n, path in enumerate(PICTURES)}
    answers[NEAR] = image(nudged(PICTURES.index(DOUBLED)))
    files = folder / "files"
    files.mkdir()
    for number in range(30, 40):
        (files / f"{number}.png").write_bytes(png(drawing(1000 + number, 48)))
    site = Site(answers, etags=True)
    crawl = {"start": [site.url], "item": ITEM, "user_agent": AGENT, "allow_private": True, "warc": True}
    wanted = recipe.parse(
        json.dumps(
            {
                "dataset": "drawings",
                "collect": {
                    "web": {"crawl": crawl},
                    "disk": {"files": {"path": str(files), "texts": {"caption": "path"}}},
                },
                "label": [{"pattern": {"column": "caption", "regex": r"(\d)"}}],
                "select": {
                    "drop": {},
                    "duplicates": {"exact": True, "radius": 2},
                    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
                },
                "render": {"side": 32, "mode": "L"},
                "augment": {"copies": 1, "rotate": 10},
                "synthesize": {"vae": {"preset": "tiny", "rows": 24}},
                "evaluate": {"seeds": 1, "gates": {}},
                "release": {"shard_mb": 1},
            }
        )
    )
    with pytest.MonkeyPatch.context() as patch, inline(), lake(folder / "lake") as store:
        patch.setattr(evaluate, "run", pictured)
        wanted = cut(wanted, build.run(wanted, store, Silent(), until="augment").made)
        made = World(site, answers, files, wanted, folder / "lake")
        build.run(wanted, store, Silent(), accept="a test")
        trained = [row["url"] for row in rows_of(store, "drawings@v1").values() if row["parent"]]
        paths = ["/" + url.split("/", 3)[3] for url in trained if url.startswith("http")]
        made.plain = next(path for path in paths if path not in (DOUBLED, NEAR))
        made.file = next(Path(url).name for url in trained if url.startswith("file"))
        yield made
    site.close()


def cut(wanted: recipe.Recipe, made) -> recipe.Recipe:
    """The recipe with shards of a size that gives as many when some rows are gone."""
    sizes = [sum(one.counts.get(f"bytes:{split}", 0) for one in made[name].shards)
             for name in ("gather", "augment") for split in ("train", "validation", "test")]  # fmt: skip
    for parts in range(500, 200, -1):
        limit = 100 * max(sizes) / parts
        if all(-(-size // limit) == -(-0.9 * size // limit) for size in sizes):
            plain = wanted.model_dump(mode="json")
            return recipe.of({**plain, "release": {**plain["release"], "shard_mb": limit / 2**20}})
    raise AssertionError(sizes)


def rows_of(store, name: str) -> dict[str, dict]:
    """Row id → row, of a release."""
    version = dataset.find(store, name)
    return {row["id"]: row for one in version.shards() for row in shards.read(store, one).to_pylist()}


def released(folder: Path, version: int) -> dict[str, bytes]:
    """The shards of a release by name, without those that models made."""
    root = folder / "releases" / "drawings" / f"v{version}"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.parquet") if "vae-" not in p.name}


def needles(store, world: World) -> tuple[set[str], set[bytes]]:
    """What must not be left of the three rows and the near-duplicate: texts, and bytes."""
    urls = {world.url(path) for path in (DOUBLED, NEAR, world.plain)} | {f"file://{world.files}/{world.file}"}
    texts, data = set(urls), {nudged(PICTURES.index(DOUBLED)), (world.files / world.file).read_bytes()}
    data |= {png(drawing(PICTURES.index(path), 48)) for path in (DOUBLED, world.plain)}
    for row_id, row in rows_of(store, "drawings@v1").items():
        if row["url"] in urls:
            texts.add(row_id)
            data.add(row["image"]["bytes"])
    for entry in store.list("raw/"):
        table = shards.read(store, shards.adopt(store, entry.name), ["id", "url"])
        texts |= {row["id"] for row in table.to_pylist() if row["url"] in urls}
    assert len(texts) >= 4 + 4 + 2  # URLs, rows, augmented ones
    return texts, data


def asked(world: World) -> Request:
    return Request(urls=(world.url(DOUBLED), world.url(world.plain), f"file://{world.files}/{world.file}"))


def forget(store, world: World, request: Request | None = None) -> order.Ended:
    with leases.alone(store, "dsray forget") as lease:
        filed = order.file(store, order.look(store, request or asked(world), REASON, "the tests"))
        return order.carry_out(store, filed, lease)


def rebuilt(store, ended: order.Ended) -> order.Ended:
    order.rebuild(store, ended, lambda name: order.build_again(store, name, Silent()))
    return ended


@pytest.fixture(scope="module")
def after(world, tmp_path_factory):
    """(lake's folder, how it ended, what must not be there) after the three rows were forgotten."""
    folder = world.copy(tmp_path_factory.mktemp("after") / "lake")
    with inline(), lake(folder) as store:
        words = needles(store, world)
        assert len(left(folder, *words)) > 10  # the scan finds what is there
        ended = rebuilt(store, forget(store, world))
    return folder, ended, words


def test_nothing_is_left_of_the_rows(after):
    folder, ended, words = after
    assert ended.built == {"drawings": 2} and not ended.failed
    assert left(folder, *words) == []


def test_only_the_buckets_that_held_them_changed(world, after):
    folder, _, (texts, _) = after
    before, now = released(world.folder, 1), released(folder, 2)
    concerned = {name for name, data in before.items() if {row["id"] for row in read(data)} & texts}
    assert before.keys() == now.keys() and len(before) > 2 * len(concerned) > 0
    assert {name for name in now if now[name] != before[name]} == concerned
    for name in concerned:
        assert [row for row in read(before[name]) if row["id"] not in texts] == read(now[name])


def read(data: bytes) -> list[dict]:
    found: list[dict] = pq.read_table(pa.BufferReader(data)).to_pylist()
    return found


def test_the_old_release_is_refused_with_the_reason_and_a_run_finds_all_done(world, after):
    folder, _, _ = after
    with inline(), lake(folder) as store:
        with pytest.raises(DsrayError, match=r"drawings@v1 was withdrawn on .*forgotten rows: order 1\."):
            dataset.find(store, "drawings@v1")
        assert dataset.find(store, "drawings").number == 2
        with pytest.raises(DsrayError, match=r"drawings@v1 was withdrawn .*\. Its files are gone"):
            compare.pair(store, "drawings@v1", "drawings@v2")
        with pytest.raises(DsrayError, match="The files of drawings@v1 are gone"):
            versions.restore(store, "drawings", 1)
        assert build.run(world.wanted, store, Silent(), accept="a test").up_to_date


def test_a_build_from_nothing_on_a_lake_with_the_order_gives_the_same_release(world, after, tmp_path):
    with inline(), lake(after[0]) as done, lake(tmp_path / "lake") as store:
        for entry in done.list(tombstones.FOLDER):
            store.create(entry.name, done.read(entry.name))
        build.run(world.wanted, store, Silent(), accept="a test")
    assert released(tmp_path / "lake", 1) == released(after[0], 2)


def test_what_cannot_be_built_again_is_gone_all_the_same_and_the_verb_says_why(world, after, tmp_path, monkeypatch):
    folder = world.copy(tmp_path / "lake")
    monkeypatch.chdir(tmp_path)

    def refused(*_, **__):
        raise GateError("The release is refused: vae: usefulness is 0.1.", "Train longer.")

    with inline():
        monkeypatch.setattr(order, "build_again", refused)
        urls = [world.url(DOUBLED), world.url(world.plain), f"file://{world.files}/{world.file}"]
        options = [option for url in urls for option in ("--url", url)]
        assert main(["forget", *options, "--lake", f"file://{folder}", "--reason", REASON, "--yes"]) == 5
    assert left(folder, *after[2]) == []


def test_it_does_not_begin_while_somebody_builds(world, tmp_path):
    folder = world.copy(tmp_path / "lake")
    with lake(folder) as store, leases.held(store, "dsray run drawings") as lease:
        lease.declare({}, ["raw/"])
        with pytest.raises(DsrayError, match=r"`dsray run drawings` on .* works on this lake"):
            forget(store, world)
        assert tombstones.orders(store) == []


def test_the_record_tells_what_went_and_holds_nothing_of_it(world, after):
    folder, ended, _ = after
    with lake(folder) as store:
        (one,) = tombstones.orders(store)
        assert tombstones.begun(store) == []
        end = json.loads(store.read("forgotten/00001-done.json"))
    assert (one.reason, one.by, one.asked) == (REASON, "the tests", {"url": 3})
    assert one.removes["rows"] == {"disk": 1, "web": 3} and one.removes["like"] == 1
    assert one.removes["releases"] == [["drawings", 1]] and len(one.removes["models"]) == 1 and len(one.models) == 2
    assert ended.objects > end["objects"] > 10 and end["bytes"] > 0  # the model went after the build
    assert world.plain not in one.written().decode()


def test_a_crawl_does_not_ask_for_them_again_and_what_serves_them_elsewhere_is_quarantined(world, after, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(after[0], folder)
    answers, moved = dict(world.answers), {"/2/same.png": png(drawing(PICTURES.index(world.plain), 48)),
                                           "/2/like.png": nudged(PICTURES.index(world.plain))}  # fmt: skip
    world.answers["/page/6"] = page(NEAR, *moved, PICTURES[30])
    world.answers |= {path: image(data) for path, data in moved.items()}
    world.answers["/page/1"] = page(*PICTURES[12:24], "/2/new.png")  # read again, and names a forgotten one
    world.answers["/2/new.png"] = image(png(drawing(500, 48)))
    try:
        before = len(world.site.hits)
        with inline(), lake(folder) as store:
            made = build.run(world.wanted, store, Silent(), accept="a test", recrawl="all").made
            rows = rows_of(store, "drawings")
            verdicts = pa.concat_tables(shards.read(store, one) for one in made["select"].shards).to_pylist()
            raw = [row for one in made["collect"].shards for row in shards.read(store, one).to_pylist()]
            forms = [
                row for one in made["render"].shards for row in shards.read(store, one).to_pylist() if row["media"]
            ]
        hits = world.site.hits[before:]
    finally:
        world.answers.clear()
        world.answers.update(answers)
    assert not {DOUBLED, NEAR, world.plain} & set(hits) and {"/2/same.png", "/2/like.png", "/2/new.png"} <= set(hits)
    rules = {row["url"]: verdict["rule"] for row, verdict in zip(raw, verdicts, strict=True)}
    assert rules[world.url("/2/same.png")] == rules[world.url("/2/like.png")] == "forgotten"
    assert [row["payload"] for row in raw if row["url"] == world.url("/2/same.png")] == [None]
    assert world.url("/2/new.png") in {row["url"] for row in rows.values()}
    like = {row["id"] for row in raw if row["url"] == world.url("/2/like.png")}
    its_own = {row["media"]["bytes"] for row in forms if row["id"] in like}  # may be the same pixels: a row of its own
    texts, data = after[2]
    assert left(folder, texts, data - its_own) == []


def test_a_source_that_is_read_again_does_not_bring_them_back(world, after, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(after[0], folder)
    shutil.copytree(world.files, tmp_path / "kept", copy_function=shutil.copy2)
    (world.files / "39b.png").write_bytes(png(drawing(2000, 48)))
    (world.files / "38b.png").write_bytes((world.files / world.file).read_bytes())  # the same picture by another name
    try:
        with inline(), lake(folder) as store:
            made = build.run(world.wanted, store, Silent(), accept="a test", recrawl="all").made
            raw = [row for one in made["collect"].shards for row in shards.read(store, one).to_pylist()]
    finally:
        for name in ("39b.png", "38b.png"):
            (world.files / name).unlink()
    found = {Path(row["url"]).name: row for row in raw if row["source"] == "disk"}
    assert world.file not in found and found["39b.png"]["error"] is None
    assert found["38b.png"]["error"] == "forgotten" and found["38b.png"]["payload"] is None
    assert left(folder, *after[2]) == []


def test_rows_of_a_model_that_learned_from_them_are_refused_whatever_the_reason(world, after, tmp_path):
    folder = world.copy(tmp_path / "lake")
    never = recipes(world, {"retrain": "never"})
    with inline(), lake(folder) as store:
        forget(store, world)
        assert left(folder, *after[2]) == []  # before anything was built again, in the list of what it learned from too
        with pytest.raises(GateError, match=r"vae learned from rows that were forgotten\. Train it again"):
            build.run(never, store, Silent(), accept="a test")
        made = build.run(recipes(world, {"retrain": "never", "seed": 8}), store, Silent(), accept="a test").made
        assert made["release"].details["version"] == 2


def test_a_warm_start_after_it_begins_from_nothing_and_is_released(world, tmp_path):
    folder = world.copy(tmp_path / "lake")
    with inline(), lake(folder) as store:
        forget(store, world)
        made = build.run(recipes(world, {"warm": True}), store, Silent(), accept="a test").made
        assert made["release"].details["version"] == 2 and retrain.parent(made["train vae"].params) is None


def recipes(world: World, more: dict) -> recipe.Recipe:
    """The world's recipe, with more said of its model."""
    plain = world.wanted.model_dump(mode="json")
    plain["synthesize"]["vae"] |= more
    return recipe.of(plain)
