"""samples → their shapes, and mean and standard deviation of each channel over the real training rows.

Sums are whole numbers, so they are exact however the rows are cut into shards; division comes last.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dsray import plugin
from dsray.errors import DsrayError
from dsray.kinds import code, kind
from dsray.lake import shards as lake_shards
from dsray.lake.manifests import Manifest
from dsray.recipe import Recipe
from dsray.stages.samples import good
from dsray.stages.step import Made, Step, Work, digests

VERSION = 1

MOMENTS = pa.schema(
    [
        ("shape", pa.list_(pa.int32())),  # of one sample, channels last
        ("channel", pa.int32()),
        ("count", pa.int64()),  # values of that channel in the training rows of that shape
        ("sum", pa.int64()),
        ("squares", pa.int64()),
    ]
)

_LEVELS = 256


def step(recipe: Recipe, made: Made) -> Step:
    """Only for a release that standardises values, or has a column of tensors."""
    params = {"kind": recipe.kind, "code": plugin.versions(code(recipe.kind))}
    return Step("moments", "moments", VERSION, params, digests(made["gather"]))


def run(step: Step, made: Made, work: Work) -> Manifest:
    from dsray.engine import shards

    columns, samples = ["media", "split", "error"], made["gather"].shards
    works = [shards.Work(name, [(r, columns)]) for name, r in zip(step.names(samples), samples, strict=True)]
    progress = work.progress.rows(None)
    receipts = shards.map_shards(
        work.store, works, partial(moments, kind_name=work.recipe.kind), progress, work.known(step.name)
    )
    return step.manifest(receipts, {}, merged([*lake_shards.each(work.store, receipts, ahead=16)]))


def moments(samples: pa.Table, *, kind_name: str, careful: bool = False) -> tuple[pa.Table, dict[str, int]]:
    """A row for each shape and channel: count, sum and sum of squares over the training rows."""
    to_arrays = kind(kind_name).to_arrays
    samples = good(samples)
    found: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for media, split in zip(samples["media"].to_pylist(), samples["split"].to_pylist(), strict=True):
        array = to_arrays([media["bytes"]])[0]
        levels_CL = found.setdefault(array.shape, np.zeros((array.shape[-1], _LEVELS), np.int64))
        if split == "train":
            for channel, levels_L in enumerate(levels_CL):
                levels_L += np.bincount(array[..., channel].ravel(), minlength=_LEVELS)
    level_L = np.arange(_LEVELS)
    rows = [
        {"shape": shape, "channel": channel, "count": int(levels_L.sum()), "sum": int(levels_L @ level_L),
         "squares": int(levels_L @ level_L**2)}
        for shape, levels_CL in sorted(found.items()) for channel, levels_L in enumerate(levels_CL)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=MOMENTS), {}


def merged(tables: Sequence[pa.Table]) -> dict[str, Any]:
    """`shapes` of all samples; `mean` and `std` of each channel in the units of the bytes.

    The std of a channel that never changes is 1, so that its standard values are 0.
    """
    rows = [row for table in tables for row in table.to_pylist()]
    sums: dict[int, list[int]] = {}
    for row in rows:
        added = sums.setdefault(row["channel"], [0, 0, 0])
        for place, name in enumerate(("count", "sum", "squares")):
            added[place] += row[name]
    shapes = sorted({tuple(row["shape"]) for row in rows})
    both = [_mean_std(*sums[channel]) for channel in sorted(sums)]
    return {"shapes": [list(s) for s in shapes], "mean": [mean for mean, _ in both], "std": [std for _, std in both]}


def _mean_std(count: int, total: int, squares: int) -> tuple[float, float]:
    if not count:
        return 0.0, 1.0
    mean, variance = Fraction(total, count), Fraction(count * squares - total**2, count**2)
    return float(mean), math.sqrt(variance) or 1.0


def values(array: NDArray[np.uint8], form: dict[str, Any]) -> NDArray[np.float32]:
    """Bytes [..., C] → float32 of the same shape. `form`: values (bytes, unit, signed, standard), mean and std [C].

    Every level of every channel is computed once, so that whoever asks gets the same bits. Raises DsrayError when the
    statistics are of another number of channels.
    """
    channels = array.shape[-1]
    level_L = np.arange(_LEVELS, dtype=np.float64)
    if form["values"] == "standard":
        if len(form["mean"]) != channels:
            raise DsrayError(
                f"Samples have {channels} channels, but the statistics are of {len(form['mean'])}.",
                "Give `values` what the release's own samples look like.",
            )
        table_CL = (level_L - np.array(form["mean"])[:, None]) / np.array(form["std"])[:, None]
    else:
        scale = {"bytes": level_L, "unit": level_L / 255, "signed": level_L / 127.5 - 1}[form["values"]]
        table_CL = np.tile(scale, (channels, 1))
    found: NDArray[np.float32] = table_CL.astype(np.float32)[np.arange(channels), array]
    return found


def channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """[N, ..., C] → [N, C, ...], as torch has it."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))
