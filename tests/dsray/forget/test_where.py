"""A question to columns is answered as written; what is none is refused and never executed."""

import pyarrow as pa
import pytest

from dsray.errors import RecipeError
from dsray.forget.where import parse

ROWS = pa.table({"blur": [1.0, 5.0, None, 9.0], "label": ["7", "7", "1", None], "side": [8, 16, 32, 64]})


@pytest.mark.parametrize(
    "question, rows",
    [
        ("blur < 3", [0]),
        ("blur < 9 and label == '7'", [0, 1]),
        ("not (side >= 32) or label == '1'", [0, 1, 2]),
        ("label in ['1', '2']", [2]),
        ("label not in ('7',) and side > 1", [2, 3]),
        ("label is None", [3]),
        ("blur is not None and 8 < side <= 16", [1]),
        ("3 > blur", [0]),
        ("side > -1 and label != '7'", [2]),
    ],
)
def test_questions(question, rows):
    expression, columns = parse(question)
    found = ROWS.append_column("row", pa.array(range(4))).filter(expression)["row"].to_pylist()
    assert found == rows and columns <= set(ROWS.column_names)


@pytest.mark.parametrize(
    "question",
    ["", "blur <", "__import__('os').system('true')", "1 < 2", "blur + 1 < 2", "blur.x < 1", "len(label) > 1",
     "blur < side()", "lambda: 1", "label is 'x'"],
)  # fmt: skip
def test_what_is_no_question_is_refused(question):
    with pytest.raises(RecipeError, match="is no question to columns"):
        parse(question)


def test_a_column_by_itself_is_a_question():
    assert parse("blur")[1] == {"blur"}
