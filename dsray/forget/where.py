"""A question to the columns of raw rows, facts and labels: `blur < 3 and label == '7'`. Parsed, never executed."""

import ast
import operator
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from dsray.errors import RecipeError

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda column, values: column.isin(values),
    ast.NotIn: lambda column, values: ~column.isin(values),
}  # fmt: skip


def parse(text: str) -> tuple[pc.Expression, set[str]]:
    """The expression and the columns that it looks at. Raises RecipeError for what is none."""
    columns: set[str] = set()
    try:
        return _expression(ast.parse(text.strip(), mode="eval").body, columns), columns
    except (SyntaxError, ValueError, TypeError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise RecipeError(
            f"--where {text!r} is no question to columns: {said}.",
            "Compare columns with values by ==, !=, <, <=, >, >=, in and `is None`; join by and, or, not.",
        ) from None


def _expression(node: ast.AST, columns: set[str]) -> pc.Expression:
    if isinstance(node, ast.BoolOp):
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        parts = [_expression(value, columns) for value in node.values]
        found = parts[0]
        for part in parts[1:]:
            found = join(found, part)
        return found
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_expression(node.operand, columns)
    if isinstance(node, ast.Compare):
        return _compared(node, columns)
    if isinstance(node, ast.Name):  # a column that is true or false
        return _column(node, columns)
    raise ValueError(f"{ast.unparse(node)} is neither true nor false")


def _compared(node: ast.Compare, columns: set[str]) -> pc.Expression:
    found, left = None, _operand(node.left, columns)
    for said, right_node in zip(node.ops, node.comparators, strict=True):
        right = _operand(right_node, columns)
        if isinstance(said, ast.Is | ast.IsNot) and right is None:
            one = left.is_null() if isinstance(said, ast.Is) else left.is_valid()
        elif type(said) in _COMPARISONS:
            one = _COMPARISONS[type(said)](left, right)
        else:
            raise ValueError(f"{ast.unparse(node)} compares in a way that is not known")
        if not isinstance(one, pc.Expression):
            raise ValueError(f"{ast.unparse(node)} names no column")
        found = one if found is None else found & one
        left = right
    return found


def _operand(node: ast.AST, columns: set[str]) -> Any:
    return _column(node, columns) if isinstance(node, ast.Name) else ast.literal_eval(node)


def _column(node: ast.Name, columns: set[str]) -> pc.Expression:
    columns.add(node.id)
    return pc.field(node.id)
