"""One recipe's decision on rows of a test, as verdicts."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from dsray import recipe as recipes
from dsray.engine.exchange import Exchange, Here
from dsray.lake import shards
from dsray.lake.store import Store
from dsray.stages import select
from dsray.stages.choose.decision import decide, outcomes
from lakes import families

RECIPE = """\
dataset: t
seed: {seed}
collect: {{gallery: {{crawl: {{start: [http://127.0.0.1/], allow_private: true, item: {{image: "img::attr(src)"}}}}}}}}
"""


def recipe_of(choices: dict[str, Any], seed: int = 7) -> recipes.Recipe:
    plain = recipes.parse(RECIPE.format(seed=seed)).model_dump(mode="json")
    return recipes.model().model_validate(plain | {"select": choices})


def verdicts(
    store: Store, rows: Sequence[dict[str, Any]], choices: dict[str, Any], sizes: Sequence[int] = (1000,),
    seed: int = 7, exchange: Exchange | None = None, recrawled: Sequence[str] = (),
) -> pa.Table:  # fmt: skip
    """The verdicts of all rows, in order."""
    recipe, of_shards = recipe_of(choices, seed), families(store, rows, sizes)
    exchange = exchange or Here()
    found = decide(of_shards, recipe, store, exchange, recrawled)
    told: dict[int, pa.Table] = {}
    for state, group in zip(exchange.fetch(found.states), found.groups, strict=True):
        told |= outcomes(state, group, found.split_told)
    fn = select.verdicts_of(recipe, found)
    made = []
    for number, family in enumerate(of_shards):
        tables = [shards.read(store, receipt) for receipt in family]
        made.append(fn(*tables, told.get(number))[0])
    return pa.concat_tables(made)


def by_rule(table: pa.Table) -> dict[str, list[int]]:
    """Rule → rows; kept rows under ''."""
    found: dict[str, list[int]] = {}
    for row, rule in enumerate(table["rule"].to_pylist()):
        found.setdefault(rule or "", []).append(row)
    return found
