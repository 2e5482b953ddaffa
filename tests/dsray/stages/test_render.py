"""render: every row that can be decoded, in one form."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dsray import build, plugin, recipe, schema
from dsray.errors import RecipeError, SourceError
from dsray.kinds import kind
from dsray.lake.manifests import Manifest
from dsray.metrics.fidelity import psnr
from dsray.stages import measure, render
from dsray.stages.render import forms
from rows import drawing, png, raw_table

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}


def test_all_forms_are_the_one_form_and_rows_stay_in_order(raw):
    table, _ = forms(raw, kind_name="image", spec=SPEC)
    assert table.schema.equals(schema.FORMS) and table["id"].equals(raw["id"])
    media = [media for media in table["media"].to_pylist() if media]
    images = kind("image").to_arrays([one["bytes"] for one in media])
    assert images.shape == (len(media), 28, 28, 1) and images.dtype == np.uint8
    assert [one["path"] for one in media][:17] == [f"{row}.png" for row in raw["id"].to_pylist()[:17]]
    assert table["size"].drop_null().to_pylist() == [len(one["bytes"]) for one in media]


def test_what_has_no_form_says_why(raw):
    table, _ = forms(raw, kind_name="image", spec=SPEC)
    bad = table.slice(17, 3)
    assert bad["error"].to_pylist() == ["truncated", "empty", "not_an_image"]
    assert bad["media"].to_pylist() == bad["size"].to_pylist() == bad["frame"].to_pylist() == [None] * 3
    assert table["error"].to_pylist()[:17] == [None] * 17


def test_a_batch_equals_its_halves(raw):
    whole, _ = forms(raw, kind_name="image", spec=SPEC)
    halves = [forms(raw.slice(*cut), kind_name="image", spec=SPEC)[0] for cut in ((0, 6), (6, None))]
    assert whole.equals(pa.concat_tables(halves))


RECIPE = """\
dataset: digits
collect: {folder: {files: {path: pictures}}}
render: {side: 28, mode: L, own: [{function: "lighter_of_the_test:lighter", by: 2, files: {table: TABLE}}]}
"""


@pytest.fixture
def lighter(tmp_path, monkeypatch):
    """A recipe with a step of its own, beside its module and its file."""
    (tmp_path / "lighter_of_the_test.py").write_text(
        "def lighter(pixels, table, by):\n    return (pixels // 2 + by + len(table)).astype(pixels.dtype)\n"
    )
    (tmp_path / "table").write_bytes(b"123")
    monkeypatch.setenv(plugin.FOLDERS, str(tmp_path))
    return recipe.parse(RECIPE.replace("TABLE", str(tmp_path / "table")))


@pytest.mark.parametrize("size", [28, 40])  # as it is, and shrunk
def test_steps_of_ones_own_get_the_canonical_array_and_their_files(lighter, size):
    raw, spec = raw_table([png(drawing(seed, size)) for seed in range(3)]), lighter.render.spec()
    plain, own = (
        kind("image").to_arrays(
            [one["bytes"] for one in forms(raw, kind_name="image", spec=spec, touches=steps)[0]["media"].to_pylist()]
        )
        for steps in ((), render.steps(lighter))
    )
    assert np.array_equal(own, plain // 2 + 2 + 3)
    (_, _), (form, _) = measure.facts_and_forms(
        {"render": True}, raw, kind_name="image", signals={}, spec=spec, touches=render.steps(lighter)
    )
    assert form.equals(forms(raw, kind_name="image", spec=spec, touches=render.steps(lighter))[0])


def test_the_content_of_a_file_is_in_the_key_and_its_place_is_not(lighter, tmp_path):
    made = {"collect": Manifest("collect", 1, "k", {}, [])}
    first = render.step(lighter, made).key
    (tmp_path / "moved").write_bytes(b"123")
    moved = recipe.parse(RECIPE.replace("TABLE", str(tmp_path / "moved")))
    assert render.step(moved, made).key == first
    (tmp_path / "moved").write_bytes(b"1234")
    assert render.step(moved, made).key != first
    assert (
        render.step(recipe.parse(RECIPE.replace("by: 2", "by: 3").replace("TABLE", str(tmp_path / "table"))), made).key
        != first
    )
    (tmp_path / "moved").unlink()
    with pytest.raises(SourceError, match="moved"):
        build.check(moved)


def test_a_step_that_is_not_there_or_makes_another_shape_is_one_sentence(lighter, tmp_path):
    with pytest.raises(RecipeError, match="cannot be had"):
        build.check(recipe.parse(RECIPE.replace(":lighter", ":darker").replace("TABLE", str(tmp_path / "table"))))
    touches = [{"function": "numpy:ravel"}]
    with pytest.raises(RecipeError, match=r"'numpy:ravel' made uint8 \(784,\) of uint8 \(28, 28, 1\)"):
        forms(raw_table([png(drawing(1))]), kind_name="image", spec=SPEC, touches=touches)


def test_the_page_on_restoration_trains_a_denoiser_that_a_recipe_uses(tmp_path, monkeypatch):
    page = Path("docs/generative.md").read_text()
    files = dict(re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", page, re.M | re.S))
    monkeypatch.chdir(tmp_path)
    clean = np.stack([drawing(seed) for seed in range(200)])
    np.save("clean.npy", clean[..., None])
    exec(files["train_denoiser.py"].replace("60_000", "1_000, batch=16, width=16, ema_images=100"), {})
    noise = np.random.default_rng(0).normal(0, 30, (5, 28, 28))
    noisy = (clean[:5] + noise).clip(0, 255).astype(np.uint8)
    scans = recipe.parse(files["scans.yaml"])
    build.check(scans)
    raw, spec = raw_table([png(one) for one in noisy]), scans.render.spec()
    table, _ = forms(raw, kind_name="image", spec=spec, touches=render.steps(scans))
    made = kind("image").to_arrays([media["bytes"] for media in table["media"].to_pylist()])
    better = psnr(made, clean[:5, ..., None]) - psnr(noisy[..., None], clean[:5, ..., None])
    assert better.mean() > 2
