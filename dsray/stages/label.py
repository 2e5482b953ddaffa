"""raw, facts → labels: the same rows in the same order. Every labeller is asked; all answers are kept, and combined."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dsray import keys, plugin, schema
from dsray.errors import SourceError
from dsray.labelling import Column, LabelFile, Labeller, Pattern, Rule, names
from dsray.labels import patterns
from dsray.labels.model import LabelModel, fit
from dsray.labels.model import Pattern as Votes
from dsray.labels.votes import NOTHING, combine, conflicting
from dsray.lake import shards as lake_shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt, name_of
from dsray.lake.store import Store
from dsray.recipe import Recipe
from dsray.stages import imports
from dsray.stages.imports import Given
from dsray.stages.step import Made, Step, Work, balance, digests, total

VERSION = 2

Answer = tuple[str, str, float]
"""A vote: source, label, confidence."""

_NAMES = ["id", "url", "page", "source"]
_FAILED = "failed:"


def check(recipe: Recipe) -> None:
    """Loads the functions and reads the files. Raises RecipeError or SourceError."""
    for labeller in recipe.label:
        if labeller.rule:
            plugin.load(labeller.rule.function)
    for config in _files(recipe.label).values():
        imports.load(config)


def step(recipe: Recipe, made: Made) -> Step:
    params = {
        "labellers": [labeller.model_dump(mode="json", exclude_none=True) for labeller in recipe.label],
        "combine": recipe.combine,
        "code": _code(recipe.label),
        "files": _digests(recipe.label),
    }
    inputs = [*digests(made["collect"]), *(digests(made["measure"]) if _asks_facts(recipe.label) else [])]
    return Step("label", "label", VERSION, params, inputs)


def run(step: Step, made: Made, work: Work) -> Manifest:
    """Votes and labels in one pass; a label model learns from all votes first, so that takes two."""
    from dsray.engine import shards

    raws, labellers, how = made["collect"].shards, work.recipe.label, work.recipe.combine
    if step.params["files"] != _digests(labellers):
        raise SourceError("A file of labels was changed while it was read.", "Run again.")
    matched = imports.match(_files(labellers), names(labellers), raws, work.store)
    facts = made["measure"].shards if _asks_facts(labellers) else None
    texts = work.recipe.texts()
    works = [
        _work(raw, facts[at] if facts else None, given, step, labellers, texts, how)
        for at, (raw, given) in enumerate(zip(raws, matched.given, strict=True))
    ]
    dumped = [labeller.model_dump(mode="json", exclude_none=True) for labeller in labellers]
    progress = work.progress.rows(made["collect"].counts["kept"])
    one_pass = how != "model"
    asking = partial(given_labels, labellers=dumped, combine=how if one_pass else None)
    receipts = asked = shards.map_shards(work.store, works, asking, progress, work.known(step.name))
    counted = _patterns(asked, work.store) if labellers else Counter()
    model = None if one_pass else fit(counted)
    if model:
        params = {"model": {"accuracy": model.accuracy, "prior": model.prior}}
        named = [name_of("label", keys.key("label", VERSION, params, [receipt.digest])) for receipt in asked]
        works = [shards.Work(name, [(receipt, None)]) for name, receipt in zip(named, asked, strict=True)]
        combining = partial(combined, how="model", model=model)
        receipts = shards.map_shards(work.store, works, combining, progress, work.known(step.name))
    rows = sum(receipt.rows for receipt in receipts)
    details = {
        "labelled": total(receipts, "labelled"),
        "conflicts": total(receipts, "conflicts"),
        "combine": how,
        "sources": patterns.sources(counted, rows, names(labellers), model),
        "failed": _failures(asked, names(labellers)),
        "files": matched.told,
        "classes": patterns.labels(counted),
        **({"prior": model.prior} if model else {}),
        **({"votes": [receipt.name for receipt in asked]} if model else {}),  # they serve again when rows come
    }
    return step.manifest(receipts, balance(rows), details)


def names_of(step: Step, made: Made, recipe: Recipe) -> list[str] | None:
    """Where the shards lie; None where that takes reading rows: of files, or of votes that a model weighs."""
    if _files(recipe.label) or recipe.combine == "model":
        return None
    raws, facts = made["collect"].shards, made["measure"].shards if _asks_facts(recipe.label) else None
    said = (step, recipe.label, recipe.texts(), recipe.combine)
    return [_work(raw, facts[at] if facts else None, {}, *said).name for at, raw in enumerate(raws)]


def _work(
    raw: Receipt, facts: Receipt | None, given: Given, step: Step, labellers: Sequence[Labeller], texts: list[str],
    how: str,
) -> Any:  # fmt: skip
    """Named by what concerns this shard: of the files, the labels of its rows."""
    from dsray.engine import shards

    said = [  # where a file lies, and what it says of other shards, changes nothing here
        {"name": name, **labeller.model_dump(mode="json", exclude_none=True, exclude={"name", "file"})}
        for name, labeller in zip(names(labellers), labellers, strict=True)
    ]
    asks = [labeller.rule for labeller in labellers if labeller.rule]
    wanted = set(texts) if asks else set[str]().union(*(labeller.columns() for labeller in labellers))
    columns = ["id", *(_NAMES[1:] if asks else []), *(["payload"] if any(rule.media for rule in asks) else [])]
    columns += [f"{name}?" for name in sorted(wanted - set(columns))]
    stage = "votes" if how == "model" else "label"
    params = {
        "labellers": said, "combine": None if how == "model" else how, "code": step.params["code"],
        "texts": texts if asks else [], "given": keys.digest(keys.canonical(given)),
    }  # fmt: skip
    inputs = [receipt for receipt in (raw, facts) if receipt]
    key = keys.key(stage, VERSION, params, [receipt.digest for receipt in inputs])
    families = [(raw, columns), *([(facts, None)] if facts else [])]
    return shards.Work(name_of(stage, key), families, {"imported": given})


def given_labels(given: Mapping[str, Given], *tables: pa.Table, **settings: Any) -> tuple[pa.Table, dict[str, int]]:
    """`labels`, as the engine calls it."""
    return labels(*tables, imported=given["imported"], **settings)


def labels(
    raw: pa.Table,
    facts: pa.Table | None = None,
    *,
    labellers: Sequence[Mapping[str, Any]],
    combine: str | None = "precedence",
    imported: Given | None = None,
    careful: bool = False,
) -> tuple[pa.Table, dict[str, int]]:
    """One label row per raw row, with every vote; without `combine` the label waits for `combined`."""
    ways = [Labeller.model_validate(labeller) for labeller in labellers]
    votes: list[list[Answer]] = [[] for _ in range(raw.num_rows)]
    objects: list[Any] = [None] * raw.num_rows
    failed: Counter[str] = Counter()
    rows = _rows(raw, facts) if any(way.rule for way in ways) else []
    for at, (way, name) in enumerate(zip(ways, names(ways), strict=True)):
        if way.rule:
            answers, failures = _ruled(rows, way.rule)
            if failures:
                first = next(iter(failures))
                failed[f"{_FAILED}{at}:{first}"] = failures.total()
        elif way.file:
            said = (imported or {}).get(str(at), {})
            for row, row_id in enumerate(raw["id"].to_pylist()):
                _import(said.get(row_id, ()), name, votes[row], objects, row)
            continue
        else:
            answers = _told(raw, way.pattern or way.column)
        for row, answer in enumerate(answers):
            if answer:
                votes[row].append((name, *answer))
    table = pa.table(
        [
            raw["id"],
            *(pa.nulls(raw.num_rows, schema.LABELS.field(name).type) for name in schema.LABELS.names[1:5]),
            pa.array([[_vote(vote) for vote in said] or None for said in votes], schema.LABELS.field("votes").type),
            pa.array(objects, schema.LABELS.field("objects").type),
        ],
        schema=schema.LABELS,
    )
    if combine is None:
        return table, dict(failed)
    table, counts = combined(table, how=combine)
    return table, {**counts, **failed}


def combined(
    votes: pa.Table, *, how: str, model: LabelModel | None = None, careful: bool = False
) -> tuple[pa.Table, dict[str, int]]:
    """The votes with what they come to."""
    said = votes["votes"].to_pylist()
    found = [combine(row, how, model) if row else NOTHING for row in said]
    columns = [list(column) for column in zip(*found, strict=True)] or [[], [], [], []]
    table = pa.table([votes["id"], *columns, votes["votes"], votes["objects"]], schema=schema.LABELS)
    conflicts = sum(conflicting(row) for row in said if row)
    return table, {"labelled": len(said) - columns[0].count(None), "conflicts": conflicts}


def _vote(answer: Answer) -> dict[str, Any]:
    return dict(zip(("source", "label", "confidence"), answer, strict=True))


def _told(raw: pa.Table, way: Pattern | Column | None) -> list[tuple[str, float] | None]:
    """What a text column says of each row."""
    assert way
    column = way.column if isinstance(way, Pattern) else way.name
    if column not in raw.column_names:
        return [None] * raw.num_rows
    label = _matcher(way) if isinstance(way, Pattern) else _mapper(way)
    found = (label(text) if text is not None else None for text in raw[column].to_pylist())
    return [(name, 1.0) if name is not None else None for name in found]


def _matcher(way: Pattern) -> Callable[[str], str | None]:
    regex = re.compile(way.regex)
    return lambda text: match.group(1) if (match := regex.search(text)) else None


def _mapper(way: Column) -> Callable[[str], str | None]:
    return way.map.get if way.map else lambda text: text.strip() or None


def _rows(raw: pa.Table, facts: pa.Table | None) -> list[dict[str, Any]]:
    """A dict a row, as rules get it: facts, then what the raw row has."""
    measured = facts.to_pylist() if facts is not None else [{}] * raw.num_rows
    return [{**fact, **row} for fact, row in zip(measured, raw.to_pylist(), strict=True)]


def _ruled(rows: Sequence[Mapping[str, Any]], rule: Rule) -> tuple[list[tuple[str, float] | None], Counter[str]]:
    """What a rule says of each row, and how often it raised what; a row that it raises on is one it abstains on."""
    function = plugin.load(rule.function)
    answers: list[tuple[str, float] | None] = []
    failures: Counter[str] = Counter()
    for row in rows:
        own = dict(row)  # a rule may change its own
        if not rule.media:
            own.pop("payload", None)
        try:
            answers.append(_answer(function(own), rule.confidence))
        except Exception as error:  # any code at all must end as a row
            answers.append(None)
            failures[type(error).__name__[:40]] += 1
    return answers, failures


def _answer(said: Any, sure: float) -> tuple[str, float] | None:
    label, confidence = said if isinstance(said, tuple) else (said, sure)
    if label is None or label == "":
        return None
    if not isinstance(label, str):
        raise TypeError(f"a label is a text, not {type(label).__name__}")
    if not 0 <= float(confidence) <= 1:
        raise ValueError(f"a confidence is from 0 to 1, not {confidence}")
    return label, float(confidence)


def _import(said: Sequence[Sequence[Any]], name: str, votes: list[Answer], objects: list[Any], row: int) -> None:
    """A file's answers for one row. Objects are the first source's that marked any: two would mark a thing twice."""
    for who, label, confidence, marks in said:
        if label is not None:
            votes.append((f"{name}:{who}" if who else name, label, confidence))
        if objects[row] is None and marks is not None:
            objects[row] = marks


def _files(labellers: Sequence[Labeller]) -> dict[int, LabelFile]:
    return {at: labeller.file for at, labeller in enumerate(labellers) if labeller.file}


def _digests(labellers: Sequence[Labeller]) -> dict[str, str]:
    return {config.path: imports.load(config).digest for config in _files(labellers).values()}


def _asks_facts(labellers: Sequence[Labeller]) -> bool:
    return any(labeller.rule for labeller in labellers)


def _code(labellers: Sequence[Labeller]) -> dict[str, str]:
    return plugin.versions(labeller.rule.function for labeller in labellers if labeller.rule)


def _patterns(receipts: Sequence[Receipt], store: Store) -> Counter[Votes]:
    """From the shards: a receipt has no room for them."""
    counted: Counter[Votes] = Counter()
    for table in lake_shards.each(store, receipts, ["votes"], ahead=16):
        counted.update(patterns.count(table["votes"]))
    return counted


def _failures(receipts: Sequence[Receipt], of: Sequence[str]) -> dict[str, dict[str, int]]:
    """Labeller → what it raised → rows."""
    found: dict[str, Counter[str]] = {}
    for receipt in receipts:
        for name, count in receipt.counts.items():
            if name.startswith(_FAILED):
                at, _, error = name.removeprefix(_FAILED).partition(":")
                found.setdefault(of[int(at)], Counter())[error] += count
    return {name: dict(sorted(errors.items())) for name, errors in sorted(found.items())}
