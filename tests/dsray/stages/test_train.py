"""train on a real Ray Train: two workers, checkpoints on the lake, and a killed run ends with the same bits."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from dsray import models, schema
from dsray.engine import training
from dsray.errors import DsrayError
from dsray.lake import shards
from dsray.stages import train
from dsray.stages.samples import counts, sample_table
from dsray.stages.train import Training, _Loop
from rows import drawing, png

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = {"images": 256, "batch": 16, "width": 8, "latent": 8, "embedding": 4}


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
    config = {**models.preset(architecture, "tiny").config, **CONFIG}
    return Training(store, "image", architecture, config, [receipt], ["0", "1"], 7, key)


@dataclass(frozen=True)
class Deadly:
    """The loop of a worker that is killed once, in the middle of a step after a checkpoint."""

    job: Training
    mark: Path

    def __call__(self, worker: training.Worker) -> None:
        calls = 0

        def reduce(x):
            nonlocal calls
            calls += 1
            saved = any(".safetensors" in e.name for e in self.job.store.list(f"models/{self.job.key}/checkpoints/"))
            if worker.rank == 1 and saved and calls % 7 == 0 and not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return worker.reduce(x)

        train.loop(self.job, replace(worker, reduce=reduce))


def run(loop) -> list[dict]:
    heard: list[dict] = []
    training.train(loop, name="t", workers=2, gpu=False, hear=heard.append)
    return heard


def test_a_killed_training_resumes_and_ends_with_the_same_bits(store, tmp_path):
    undisturbed = job_of(store, "gan", "a" * 64)
    heard = run(_Loop(undisturbed))
    assert heard[-1]["step"] == heard[-1]["steps"] == 256 // 16
    killed, mark = replace(undisturbed, key="b" * 64), tmp_path / "killed"
    run(Deadly(killed, mark))
    assert mark.exists(), "no worker was killed"
    assert store.read(f"models/{'b' * 64}/model.safetensors") == store.read(f"models/{'a' * 64}/model.safetensors")
    assert [g["step"] for g in train.grids(store, killed.key)] == [4, 8, 12, 16]
    steps = [point["step"] for point in train.curve(store, killed.key)]
    assert steps == sorted(set(steps)) and steps[-1] == 16
    states = [e.name for e in store.list(f"models/{killed.key}/checkpoints/") if e.name.endswith(".safetensors")]
    assert len(states) == 2


def test_no_rows_to_learn_from_is_one_sentence(store):
    job = job_of(store, "vae", "c" * 64)
    table = shards.read(store, job.samples[0])
    only_test = table.set_column(table.column_names.index("split"), "split", pa.array(["test"] * table.num_rows))
    empty = shards.write(store, "shards/render/empty.parquet", only_test, counts(only_test))
    with pytest.raises(DsrayError, match="no training rows"):
        train.arrays(replace(job, samples=[empty]))
