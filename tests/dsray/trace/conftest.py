"""One lake with three builds of drawings: v1, v2 with mixed rows and a label model, one with a GAN, not released."""

from pathlib import Path
from typing import NamedTuple

import pytest

from dsray import build, recipe
from dsray.lake.store import Store, open_store
from dsray.models import configs
from inline import inline
from rows import drawing, png
from runs import Silent

RECIPE = """
dataset: shapes
seed: 3
collect: {{drawings: {{files: {{path: {folder}, include: ["**/*.png"], texts: {{folder: folder}}}}}}}}
label:
- column: {{name: folder}}
- pattern: {{column: folder, regex: '(a)'}}
combine: majority
select:
  drop: {{min_side: 8, blur: {{min: 1}}}}
  duplicates: {{radius: 1}}
  split: {{train: 0.6, validation: 0.2, test: 0.2}}
render: {{side: 12, mode: L, format: png}}
release: {{shard_mb: 0.002}}
"""

TINY = configs.GanConfig(images=64, batch=32, latent=6, width=8, embedding=4)


class Made(NamedTuple):
    store: Store
    folder: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("drawings")
    for at in range(60):
        target = folder / "ab"[at % 2] / f"{at:02d}.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(png(drawing(at, 16)))
    (folder / "b" / "twin.png").write_bytes((folder / "a" / "00.png").read_bytes())
    (folder / "a" / "broken.png").write_bytes(b"no picture")
    (folder / "a" / "flat.png").write_bytes(png(drawing(0, 16) * 0))
    (folder / "a" / "small.png").write_bytes(png(drawing(0, 16)[:4, :4]))
    store = open_store(f"file://{tmp_path_factory.mktemp('lake')}")
    text = RECIPE.format(folder=folder)
    with inline(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.FAMILIES["gan"], "tiny", TINY)
        build.run(recipe.parse(text + "augment: {copies: 2, rotate: 20}"), store, Silent())
        text = text.replace("combine: majority", "combine: model")
        mixed = text + "augment: {copies: 1, rotate: 20, mixup: 0.5, cutmix: 0.5}"
        build.run(recipe.parse(mixed), store, Silent())
        drawn = mixed + "\nsynthesize: {gan: {preset: tiny, rows: 70, truncation: 0.8}}"
        build.run(recipe.parse(drawn), store, Silent(), until="synthesize gan")
    return Made(store, folder)
