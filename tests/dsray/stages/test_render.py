"""render: every row that can be decoded, in one form."""

import numpy as np
import pyarrow as pa

from dsray import schema
from dsray.kinds import kind
from dsray.stages.render import forms

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
