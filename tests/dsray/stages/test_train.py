"""train: the loop on a lake, alone; then on a real Ray Train, where a worker is killed in the middle of a step."""

import os
import random
import shutil
import signal
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load

from dsray import models, schema
from dsray.engine.training import Worker
from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.lake.store import open_store
from dsray.models import gan
from dsray.models.feed import starting
from dsray.stages import train, trainset
from dsray.stages.checkpoints import Checkpoints
from dsray.stages.samples import counts, sample_table
from dsray.stages.step import Progress
from dsray.stages.train import Ear, Training
from rows import drawing, png

CONFIG = {"images": 256, "batch": 16, "width": 8, "latent": 8, "embedding": 4, "rate_start": 1e-4, "rate_end": 1e-4}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums in one order: bit-equality is promised for one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def job_of(store, architecture: str, key: str) -> Training:
    rows = 48
    media = [{"bytes": png(drawing(seed)), "path": "x.png"} for seed in range(rows)]
    table = sample_table(
        rows,
        id=pa.array([f"{row:032x}" for row in range(rows)]),
        media=pa.array(media, schema.MEDIA),
        label=pa.array([str(row % 2) for row in range(rows)]),
        split=pa.array(["train" if row % 8 else "test" for row in range(rows)]),
    )
    receipt = shards.write(store, "shards/render/sample.parquet", table, counts(table))
    tiny = asdict(models.architecture(architecture).PRESETS["tiny"])
    config = {name: CONFIG.get(name, said) for name, said in tiny.items()}
    return Training(store, "image", architecture, config, [receipt], ["0", "1"], 7, key)


def alone(job: Training) -> list[tuple]:
    """The loop of one worker → what the driver hears."""
    heard: list[tuple] = []
    train.loop(job, Worker(0, 1, "cpu", lambda x: x, heard.append))
    return heard


def model(store, key: str) -> bytes:
    return store.read(f"models/{key}/model.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A lake on which a model was trained, and what the driver heard."""
    store = open_store(f"file://{tmp_path_factory.mktemp('trained')}")
    job = job_of(store, "gan", "a" * 64)
    return job, alone(job)


@pytest.fixture
def copy(trained, tmp_path):
    """The job on a lake of its own."""
    shutil.copytree(Path(trained[0].store.url.removeprefix("file://")), tmp_path / "copy")
    return replace(trained[0], store=open_store(f"file://{tmp_path / 'copy'}"))


def test_the_driver_hears_points_and_grids_and_the_lake_keeps_them(trained):
    job, heard = trained
    store = job.store
    assert heard[0] == ("began", (1, 16))
    points = [news for what, news in heard if what == "point"]
    assert points[-1]["step"] == 16 and [news[0] for what, news in heard if what == "grid"] == [4, 8, 12, 16]
    kept = Checkpoints(store, job.key)
    assert kept.last().points == points and kept.last().turns == []
    assert [grid["step"] for grid in kept.grids()] == [4, 8, 12, 16]
    assert kept.places("safetensors") == [(0, 14), (0, 16)]


@pytest.mark.parametrize("harm", ["truncated", "a bit", "another model", "no story"])
def test_a_checkpoint_that_cannot_be_read_is_said_and_the_one_before_is_taken(copy, harm):
    job, store = copy, copy.store
    before, kept = model(store, job.key), Checkpoints(store, job.key)
    last = kept.places("safetensors")[-1]
    name = kept.name(last, "json" if harm == "no story" else "safetensors")
    data = bytearray(store.read(name))
    if harm == "truncated":
        del data[len(data) // 2 :]
    elif harm == "a bit":
        data[-5] ^= 1
    elif harm == "another model":
        data = bytearray(train.packed({"generator": torch.zeros(3)}))
    else:
        data = bytearray(b"[")
    path = Path(store.url.removeprefix("file://")) / name
    path.chmod(0o600)
    path.write_bytes(data)
    store.delete(f"models/{job.key}/model.safetensors")
    heard = alone(job)
    (note,) = [news for what, news in heard if what == "say"]
    assert note.startswith("the checkpoint of step 16 is ") and "the one before" in note
    assert [news["step"] for what, news in heard if what == "point"] == [16]  # from 14 on
    assert model(store, job.key) == before
    assert kept.places("safetensors") == [(0, 14), (0, 16)]


@pytest.mark.parametrize("architecture", ["dcgan", "gan", "hvae", "r3gan", "vae", "vaeflow"])
def test_a_warm_start_begins_with_all_networks_as_they_were_at_the_end(store, architecture):
    first = job_of(store, architecture, "a" * 64)
    alone(first)
    kept = Checkpoints(store, first.key)
    last = load(store.read(kept.name(kept.places("safetensors")[-1], "safetensors")))
    like = {name: tensor for name, tensor in last.items() if name != "run"}
    state = train.begun(store, first.key, 16, like)
    moments = {name for name in like if name.endswith((".mean", ".square"))}
    assert len(moments) >= 2 and not any(state[name].any() for name in moments)
    assert all(torch.equal(state[name], last[name]) for name in like.keys() - moments)
    second = replace(first, key="b" * 64, parent=first.key)
    alone(second)
    assert model(store, second.key) != model(store, first.key)
    with pytest.raises(DsrayError, match="which is gone"):
        train.begun(store, first.key, 17, like)


class Breaking(gan.Training):
    """Its loss is no number at step 11 of the first attempt."""

    def step(self, step, rank, world, reduce):
        told = super().step(step, rank, world, reduce)
        return {**told, "d_loss": float("nan")} if (step, self.feed.attempt) == (11, 0) else told


def test_a_training_that_breaks_goes_back_and_says_so_everywhere(store, tmp_path, monkeypatch):
    monkeypatch.setattr(gan, "start", starting(Breaking))
    job = job_of(store, "gan", "a" * 64)
    heard = alone(job)
    turn = {"step": 12, "to": 10, "why": "d_loss is nan"}
    story = Checkpoints(store, job.key).last()
    assert story.turns == [turn]
    steps = [point["step"] for point in story.points]
    assert steps == sorted(set(steps)) and steps[-1] == 16
    assert [point.get("attempt", 1) for point in story.points] == [1 + (step > 10) for step in steps]
    assert [grid["name"][-15:] for grid in Checkpoints(store, job.key).grids()] == [
        "0-000000004.png", "0-000000008.png", "1-000000012.png", "1-000000016.png",
    ]  # fmt: skip
    shown: list[tuple] = []
    with Ear(job, Progress(lambda *told: shown.append(told)), tmp_path / "board") as ear:
        for news in heard:
            ear(news)
    assert ear.notes == ["step 12: d_loss is nan; back to 10"] and ear.workers == 1
    assert ear.notes[0] in [note for _, _, note in shown] and "attempt 2" in shown[-1][2]
    assert [point["step"] for point in ear.board.points] == steps
    resumed = replace(job, key="b" * 64)  # killed after the turn
    for place in Checkpoints(store, job.key).places("json")[:-1]:
        for what in ("json", "safetensors"):
            data = store.read(Checkpoints(store, job.key).name(place, what))
            store.create(Checkpoints(store, resumed.key).name(place, what), data)
    alone(resumed)
    assert model(store, resumed.key) == model(store, job.key)
    assert Checkpoints(store, resumed.key).last().turns == [turn]


def test_rows_on_disk_make_the_model_that_rows_in_memory_make(store, monkeypatch):
    memory, disk = (job_of(store, "vae", key * 64) for key in "ab")
    alone(memory)
    monkeypatch.setattr(trainset, "room", lambda device, workers: 0)
    alone(disk)
    assert model(store, disk.key) == model(store, memory.key)


@dataclass(frozen=True)
class Deadly:
    """The loop of workers of which the second is killed once, at one of its all-reduces. What lies on the lake then
    is kept as the checkpoints of `left`."""

    job: Training
    left: str
    calls: int
    mark: Path

    def __call__(self, worker: Worker) -> None:
        calls = 0

        def reduce(x):
            nonlocal calls
            calls += 1
            if worker.rank == 1 and calls == self.calls and not self.mark.exists():
                for entry in self.job.store.list(f"models/{self.job.key}/"):
                    self.job.store.create(entry.name.replace(self.job.key, self.left), self.job.store.read(entry.name))
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return worker.reduce(x)

        train.loop(self.job, replace(worker, reduce=reduce))


class Pair:
    """An all-reduce between two threads."""

    def __init__(self):
        self.barrier, self.given = threading.Barrier(2, timeout=60), [None, None]

    def of(self, rank):
        def reduce(x):
            self.given[rank] = x.clone()
            self.barrier.wait()
            mean = (self.given[0] + self.given[1]) / 2
            self.barrier.wait()
            return mean

        return reduce


def lockstep(job: Training) -> None:
    """The loop of two workers, as threads."""
    pair = Pair()

    def work(rank):
        torch.set_num_threads(1)
        train.loop(job, Worker(rank, 2, "cpu", pair.of(rank), lambda news: None))

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)


@pytest.mark.usefixtures("ray_session")
def test_a_killed_training_resumes_and_ends_with_the_same_bits(store, tmp_path):
    """Killed at a step that nobody chose: by Ray Train with as many workers; by another driver with one."""
    from dsray.engine import training

    undisturbed = job_of(store, "gan", "a" * 64)
    lockstep(undisturbed)
    killed, left, mark = replace(undisturbed, key="b" * 64), replace(undisturbed, key="c" * 64), tmp_path / "killed"
    calls = random.SystemRandom().randrange(2, 33)  # a resume has one, a step two
    heard: list[tuple] = []
    deadly = Deadly(killed, left.key, calls, mark)
    training.train(deadly, name="t", workers=2, gpu=False, hear=heard.append)
    assert mark.exists() and [what for what, _ in heard].count("began") == 2, calls
    assert model(store, killed.key) == model(store, undisturbed.key), calls
    kept = Checkpoints(store, killed.key)
    assert [grid["step"] for grid in kept.grids()] == [4, 8, 12, 16]
    steps = [point["step"] for point in kept.last().points]
    assert steps == sorted(set(steps)) and steps[-1] == 16

    alone(left)
    one, two = (vector(load(model(store, job.key))) for job in (left, undisturbed))
    *shape, classes = load(model(store, left.key))["shape"].tolist()
    config, row = gan.Config(**left.config), np.zeros((1, *shape), np.uint8)
    start = vector(gan.start(config, row, np.zeros(1, np.int64), classes, left.seed, "cpu").weights())
    # by the mean: where a gradient is rounding alone, Adam takes a whole step to either side
    assert (one - two).abs().mean() < 0.01 * (one - start).abs().mean()


def vector(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights[name].flatten() for name in sorted(weights) if name != "shape"])


def test_no_rows_to_learn_from_is_one_sentence(store):
    job = job_of(store, "vae", "c" * 64)
    table = shards.read(store, job.samples[0])
    only_test = table.set_column(table.column_names.index("split"), "split", pa.array(["test"] * table.num_rows))
    empty = shards.write(store, "shards/render/empty.parquet", only_test, counts(only_test))
    with pytest.raises(DsrayError, match="no training rows"):
        alone(replace(job, samples=[empty]))


def test_no_more_workers_than_have_a_place():
    assert train.fitting(4, 2) == 2 and train.fitting(1, 8) == 1
    assert train.fitting((1, 4), 2) == (1, 4) and train.fitting((3, 4), 2) == (2, 4)
