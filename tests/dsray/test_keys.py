"""dsray.keys: one spelling, one name."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray import keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_the_order_of_parameters_does_not_matter(params):
    reordered = dict(reversed(params.items()))
    assert keys.key("measure", 1, params, ["a"]) == keys.key("measure", 1, reordered, ["a"])


def test_everything_that_makes_a_thing_is_in_its_key():
    base = keys.key("measure", 1, {"kind": "image"}, ["a", "b"])
    others = [
        keys.key("label", 1, {"kind": "image"}, ["a", "b"]),
        keys.key("measure", 2, {"kind": "image"}, ["a", "b"]),
        keys.key("measure", 1, {"kind": "text"}, ["a", "b"]),
        keys.key("measure", 1, {"kind": "image"}, ["b", "a"]),
        keys.key("measure", 1, {"kind": "image"}, ["a"]),
    ]
    assert len({base, *others}) == 6


def test_what_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match=r"NaN|nan|JSON"):
        keys.canonical({"x": float("nan")})
    with pytest.raises(TypeError):
        keys.canonical({"x": object()})


def test_a_key_is_the_same_on_every_machine_and_version():
    text = '{"inputs":[],"params":{"a":[1,2.5,null,"é"]},"stage":"s","version":1}'
    assert keys.key("s", 1, {"a": [1, 2.5, None, "é"]}, ()) == hashlib.sha256(text.encode()).hexdigest()
    assert keys.row_id("gallery", "http://x/1.png", "ab") == "b0fdbc1c6acca8b711fde90ab3d3efba"


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
        min_size=1,
        max_size=3,
        unique=True,
    )
)
def test_row_ids_differ_when_their_parts_do(parts):
    ids = {keys.row_id(part) for part in parts}
    assert len(ids) == len(parts)
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)
