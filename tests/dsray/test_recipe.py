"""dsray.recipe: a wrong recipe says file, line, field and what would be right."""

import json
from pathlib import Path

import pytest

from dsray import recipe
from dsray.errors import RecipeError

GOOD = """\
dataset: digits
collect:
  gallery:
    crawl:
      start: [http://127.0.0.1:8900/]
      allow_private: true
      item: {image: "img::attr(src)", caption: "figcaption::text"}
"""


def problem(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text, "r.yaml")
    return str(caught.value)


def test_the_recipe_that_ships_is_right():
    digits = recipe.load(Path("recipes/digits.yaml"))
    assert [rule for rule, *_ in digits.select.drop.ranges()] == [
        "truncated",
        "min_side",
        "max_aspect",
        "dark",
        "low_information",
        "blur",
    ]
    assert digits.texts() == ["caption"]


def test_defaults_are_written_out():
    full = recipe.parse(GOOD).model_dump(mode="json")
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert full["select"]["split"] == {**shares, "by": "cluster", "stratify": False}
    assert recipe.model().model_validate(full) == recipe.parse(GOOD)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("select: {drop: {blurr: {min: 3}}}", "r.yaml:8: select.drop.blurr: unknown key; did you mean `blur`?"),
        ("augment:\n  rotat: 3", "r.yaml:9: augment.rotat: unknown key; did you mean `rotate`?"),
        ("augment:\n  rotate: 500", "r.yaml:9: augment.rotate: input should be less than or equal to 180 (got 500)."),
        ("select: {split: {train: 0.9}}", "r.yaml:8: select.split: train + validation + test is 1.1, not 1"),
        ("relase: {}", "r.yaml:8: relase: unknown key; did you mean `release`?"),
        (
            "label:\n  - pattern: {column: caption, regex: 'digit'}",
            "r.yaml:9: label.0.pattern.regex: the regular expression needs",
        ),
        (
            "label:\n  - pattern: {column: caption, regex: '('}",
            "r.yaml:9: label.0.pattern.regex: not a regular expression",
        ),
        (
            "label:\n  - pattern: {column: title, regex: '(.)'}",
            "r.yaml:1: recipe: no source has a field 'title' to label by; there are: caption, page, source, url",
        ),
        ("synthesize: {gann: {}}", "r.yaml:8: synthesize.gann: input should be 'dpgan', 'gan', 'merf' or 'vae'"),
        ("synthesize: {gan: {truncation: 0}}", "r.yaml:8: synthesize.gan.truncation: input should be greater than 0"),
        ("synthesize: {gan: {rows: 9, classes: {a: 4, 7: 6}}}", "`rows` says 9, but `classes` add up to 10"),
        ("synthesize: {gan: {classes: {a: -4}}}", "r.yaml:8: synthesize.gan.classes.a: input should be greater than"),
        ("select: {drop: {blur: {}}}", "r.yaml:8: select.drop.blur: needs `min`, `max` or both"),
        ("seed: x", "r.yaml:8: seed: input should be a valid integer"),
    ],
)
def test_a_wrong_recipe_says_where_and_what(added, said):
    assert said in problem(GOOD + added)


def test_a_missing_key_is_named():
    assert "collect: this key is required" in problem("dataset: digits\n")


def test_all_problems_are_told_at_once():
    assert len(problem(GOOD + "relase: {}\nseed: x\n").splitlines()) == 2


def test_a_public_crawl_needs_a_contact():
    assert "contact" in problem(GOOD.replace("allow_private: true", "allow_private: false"))
    recipe.parse(GOOD.replace("allow_private: true", "user_agent: 'me (+https://example.org/bot)'"))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "42", "a: [", "\tx: 1", "x: !!python/object:os.system {}"])
def test_what_is_no_recipe_is_one_sentence(text):
    assert problem(text).startswith("r.yaml:")


def test_a_start_page_must_be_http():
    assert "is not an http or https URL" in problem(GOOD.replace("http://127.0.0.1:8900/", "file:///etc/passwd"))


def test_a_field_may_not_take_a_column_of_ours():
    assert "cannot be named 'label'" in problem(GOOD.replace("caption:", "label:"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("wrong", ["0", "[3, 1]", "[0, 2]", "[1]", "[1, 2, 3]", "many", "1.5", "true"])
def test_workers_are_a_number_or_least_and_most(wrong):
    synthesize = "synthesize: {gan: {workers: %s}}\n"
    good = recipe.parse(GOOD + synthesize % "[1, 4]").synthesize["gan"]
    assert good.workers == (1, 4) and recipe.parse(GOOD + synthesize % "2").synthesize["gan"].workers == 2
    told = problem(GOOD + synthesize % wrong)
    assert told.startswith("r.yaml:8: synthesize.gan.workers: give a number from 1, or `[least, most]`")
    assert "\n" not in told


def test_a_manifest_gives_the_recipe_back():
    text = GOOD.replace("dataset", "measure: {signals: {own: 'mine:own'}}\nselect: {drop: {own: {min: 1}}}\ndataset")
    for one in (recipe.parse(GOOD), recipe.parse(text), recipe.load(Path("recipes/digits.yaml"))):
        again = recipe.of(json.loads(json.dumps(one.model_dump(mode="json"))))
        assert again == one and type(again) is type(one)
    with pytest.raises(RecipeError, match="The recipe of 'digits' is of another dsray"):
        recipe.of({**recipe.parse(GOOD).model_dump(mode="json"), "newer": 1})
