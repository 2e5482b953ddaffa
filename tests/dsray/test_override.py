"""override: a recipe's value is changed from outside, and an error names the path."""

import pytest

from dsray import override
from dsray.errors import RecipeError
from dsray.kinds import image

TEXT = """\
dataset: t
collect:
  gallery: {crawl: {start: [http://127.0.0.1/], allow_private: true, item: {image: "img::attr(src)"}}}
label:
  - pattern: {column: page, regex: "(.)"}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(TEXT)
    return file


def test_values_are_yaml_and_what_is_not_there_comes_to_be(path):
    changes = ["select.drop.blur.min=30", "select.duplicates={radius: 3}", "label.0.pattern.column=url", "seed=5"]
    plain, changed = override.load(path, changes)
    assert plain.seed == 0 and changed.seed == 5
    assert changed.select.drop.ranges() == [*plain.select.drop.ranges(), ("blur", "blur", 30.0, None)]
    assert changed.select.duplicates.radius == 3 and changed.label[0].pattern.column == "url"
    assert image.QUALITY == "side" and override.load(path, []) == (plain, plain)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("select.drop.blurr.min=3", "--set: select.drop.blurr: unknown key; did you mean `blur`?"),
        ("select.drop.blur.min=x", "--set: select.drop.blur.min: input should be a valid number"),
        ("select.drop.blur", "--set select.drop.blur: not a change. Write a path and a value"),
        ("label.7.pattern.column=url", "--set label.7.pattern.column: there is nothing at label.7."),
        ("seed.x=1", "--set: seed: input should be a valid integer"),
        ("dataset.x=1", "--set dataset.x: there is nothing at dataset.x."),
        ("seed=[", "--set seed: the value is not YAML: [."),
        ("select.split.by=colour", "there is no 'colour'; there are: cluster, page"),
        ("select.outliers={signals: {sharpness: 3}}", "select.outliers.signals: there is no 'sharpness'"),
    ],
)
def test_an_error_names_the_path(path, change, said):
    with pytest.raises(RecipeError) as caught:
        override.load(path, [change])
    assert said in str(caught.value)
