"""What a release says of itself: manifest.json for programs, README.md for the hub, report.html for a person."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from dsray import schema
from dsray.kinds import kind
from dsray.lake import shards
from dsray.lake.manifests import Manifest
from dsray.lake.shards import Receipt
from dsray.recipe import Recipe
from dsray.report import card, charts, grid, page, private
from dsray.report import scores as words
from dsray.report.private import Private
from dsray.stages import retrain
from dsray.stages.choose.quarantine import caught
from dsray.stages.gates import Gate, told
from dsray.stages.release import Part, features_of, parts, release_table
from dsray.stages.samples import good, sample_table
from dsray.stages.select import by_count
from dsray.stages.step import Made, Step, Work
from dsray.stages.versions import FORMAT
from dsray.version import __version__

Learned = dict[str, dict[str, Any]]
"""Model → what a release says of what it learned from."""

_EXAMPLES = 8
_MOST_FACTS = 200_000
_MOST_SHARDS = 16
_GRID_ROWS = 6
_THUMBNAIL = 72  # pixels


def documents(step: Step, made: Made, work: Work, version: int, receipts: list[Receipt]) -> dict[str, str]:
    """File name → text, for the folder of the release."""
    origin_counts = counts(receipts)
    learned = {name.split()[1]: retrain.told(m, made, work.store) for name, m in made.items() if m.stage == "train"}
    manifest = {
        "format": FORMAT,
        "dataset": work.recipe.dataset,
        "version": version,
        "kind": work.recipe.kind,
        "classes": step.params["classes"],
        **step.params["form"],
        "dsray": __version__,
        "shards": [receipt.__dict__ for receipt in receipts],
        "rows": origin_counts,
        "rows_in": made["collect"].counts["in"],
        "quarantine": made["select"].details["quarantine"],
        "scores": made["evaluate"].details["scores"] if "evaluate" in made else {},
        "gates": step.params["gates"],
        "models": learned,
        "private": {one.model: private.documented(one) for one in _private(made)},
        "stages": {name: {"key": m.key, "version": m.version, "counts": m.counts} for name, m in made.items()},
    }
    if accepted := step.params.get("accepted"):
        failed = [{name: gate[name] for name in ("model", "gate", "value", "limit", "doubt")}
                  for gate in step.params["gates"] if not gate["passed"]]  # fmt: skip
        manifest["accepted"] = {"reason": accepted, "gates": failed}
    return {
        "README.md": card.card(_card(step, made, work, version, receipts, learned)),
        "report.html": page.render(_report(step, made, work, version, learned)),
        "manifest.json": _in_order(manifest, work.recipe),
    }


def _in_order(manifest: dict[str, Any], recipe: Recipe) -> str:
    """All sorted but the recipe: of a crawl's `item` the first field is the media's."""
    said = json.loads(json.dumps(manifest, sort_keys=True)) | {"recipe": recipe.model_dump(mode="json")}
    return json.dumps(said, indent=1)


def counts(receipts: list[Receipt]) -> dict[str, dict[str, int]]:
    """Split → origin → rows, from the shards' names and receipts."""
    found: dict[str, dict[str, int]] = {}
    for receipt in receipts:
        split, file = receipt.name.split("/")[-2:]
        origin = file.split("-")[0]
        by_origin = found.setdefault(split, {})
        by_origin[origin] = by_origin.get(origin, 0) + receipt.rows
    return found


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML, defaults written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def _report(step: Step, made: Made, work: Work, version: int, learned: Learned) -> page.Report:
    rows_in = made["collect"].counts["in"]
    quarantine, signals = _quarantine_and_signals(made, work)
    classes = step.params["classes"]
    synthetic = [part for part in parts(made) if part.synthetic]
    return page.Report(
        dataset=work.recipe.dataset,
        version=f"v{version}",
        created=None,
        recipe=recipe_text(work.recipe),
        rows_in=rows_in,
        kept=made["gather"].counts["kept"],
        quarantined=rows_in - made["gather"].counts["kept"],
        augmented=made["augment"].counts["kept"] if "augment" in made else 0,
        synthetic=sum(part.manifest.counts["kept"] for part in synthetic),
        stages=[
            page.Stage(name, m.counts["in"], m.counts["kept"], m.counts["quarantined"], _note(m))
            for name, m in made.items() if "in" in m.counts
        ],
        quarantine=quarantine,
        signals=signals,
        classes=_classes(made, synthetic, classes),
        real_grid=_grid(made["gather"], work, classes),
        grids=[page.Grid(part.name, _grid(part.manifest, work, classes), _drawn(part.manifest)) for part in synthetic],
        grid_classes=classes,
        training=[_curve(model, made[f"train {model}"], made, work, said) for model, said in learned.items()],
        walks=[page.Walk(model, _read(work, one["walk"])) for model, one in _seen(made).items()],
        nearest=[_nearest(model, one["nearest"], made, work) for model, one in _seen(made).items()],
        scores=scores(made, step.params["gates"]),
        accepted=step.params.get("accepted", ""),
        by_class=_by_class(made, classes),
        private=_private(made),
        provenance={
            "lake": work.store.url, "dsray": __version__,
            **{f"{name} key": m.key for name, m in made.items()}, "release key": step.key,
        },
    )  # fmt: skip


def _note(manifest: Manifest) -> str:
    """What a stage's counts don't say."""
    if manifest.stage != "label":
        return ""
    labelled, conflicts = manifest.details["labelled"], manifest.details.get("conflicts", 0)
    return f"{labelled:,} labelled" + (f", {conflicts:,} with answers that disagree" if conflicts else "")


def _quarantine_and_signals(made: Made, work: Work) -> tuple[list[page.Rule], list[page.Histogram]]:
    """Rules with examples, and the signals' distributions, over the first shards: enough to judge."""
    examples: dict[str, list[page.Example]] = {}
    columns: dict[str, tuple[list[float], list[float]]] = {}
    rows = 0
    families = zip(made["collect"].shards, made["measure"].shards, made["select"].shards, strict=True)
    for number, (raw, facts, verdicts) in enumerate(families):
        if number >= _MOST_SHARDS or rows >= _MOST_FACTS:
            break
        verdict, fact = shards.read(work.store, verdicts), shards.read(work.store, facts)
        rows += verdict.num_rows
        _collect_examples(verdict, raw, work, examples)
        kept = verdict["kept"]
        for field in fact.schema:
            if pa.types.is_floating(field.type):
                both = columns.setdefault(field.name, ([], []))
                both[0].extend(fact[field.name].filter(kept).drop_null().to_pylist())
                both[1].extend(fact[field.name].filter(pc.invert(kept)).drop_null().to_pylist())
    rules = [
        page.Rule(one.rule, one.rows, one.share, one.threshold, examples.get(one.rule, []), one.back)
        for one in caught(made["collect"], made["select"], work.store, examples=0)
    ]
    limits = {signal: (low, high) for _, signal, low, high in made["select"].details["judge"]["limits"]}
    meanings = kind(work.recipe.kind).MEANINGS
    histograms = []
    for name, (kept_values, dropped_values) in columns.items():
        low, high = limits.get(name, (None, None))
        edges, kept_bins, dropped_bins = charts.bins(
            kept_values, dropped_values, [m for m in (low, high) if m is not None]
        )
        if edges:
            histograms.append(page.Histogram(name, meanings.get(name, ""), edges, kept_bins, dropped_bins, low, high))
    return rules, histograms


def _collect_examples(verdict: pa.Table, raw: Receipt, work: Work, examples: dict[str, list[page.Example]]) -> None:
    """Adds rows of this shard to rules that have too few. Reads payloads only if some are wanted."""
    wanted: list[int] = []
    room = {rule: _EXAMPLES - len(found) for rule, found in examples.items()}
    for row, rule in enumerate(verdict["rule"].to_pylist()):
        if rule is not None and room.setdefault(rule, _EXAMPLES) > 0:
            room[rule] -= 1
            wanted.append(row)
    if not wanted:
        return
    of_kind = kind(work.recipe.kind)
    sources = shards.read(work.store, raw, ["url", "payload"]).take(wanted).to_pylist()
    for source, found in zip(sources, verdict.take(wanted).to_pylist(), strict=True):
        png = of_kind.thumbnail(source["payload"], _THUMBNAIL) if source["payload"] else None
        examples.setdefault(found["rule"], []).append(page.Example(png, found["value"] or "", source["url"]))


def _drawn(manifest: Manifest) -> str:
    return f"{manifest.counts['kept']:,} rows drawn with seed {manifest.params['seed']}"


def _classes(made: Made, synthetic: list[Part], classes: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """label → split → origin → rows."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    augment: dict[str, Any] = made["augment"].params if "augment" in made else {"spec": {"copies": 0}, "classes": {}}
    generated = sum(part.manifest.counts["kept"] for part in synthetic)
    for label, splits in made["select"].details["classes"].items():
        by_split = {split: {"real": splits[split]} for split in schema.SPLITS if split in splits}
        train = by_split.setdefault("train", {"real": 0})
        if copies := augment["classes"].get(label, augment["spec"])["copies"]:
            train["augmented"] = train["real"] * copies
        if generated and label in classes:
            train["synthetic"] = sum(_of_class(part.manifest, classes.index(label)) for part in synthetic)
        found[label] = by_split
    return found


def _of_class(manifest: Manifest, place: int) -> int:
    """Synthetic rows of one class: as many as were asked for, else classes take turns."""
    if counts := manifest.params.get("counts"):
        return int(counts[place])
    rows, classes = manifest.counts["kept"], len(manifest.params["classes"])
    return rows // classes + (place < rows % classes)


def _grid(manifest: Manifest, work: Work, classes: list[str]) -> bytes | None:
    """A sheet with a column a class: the first rows by id. None for a kind that cannot be shown."""
    of_kind = kind(work.recipe.kind)
    columns = max(1, len(classes))
    rows: dict[str, list[bytes]] = {label: [] for label in classes or [""]}
    for table in _tables(manifest, work):
        for label, media in zip(table["label"].to_pylist(), table["media"].to_pylist(), strict=True):
            found = rows.get(label or "")
            if found is not None and len(found) < _GRID_ROWS:
                found.append(of_kind.thumbnail(media["bytes"], _THUMBNAIL) or b"")
        if all(len(found) == _GRID_ROWS for found in rows.values()):
            break
    sheet = [found[row] if row < len(found) else b"" for row in range(_GRID_ROWS) for found in rows.values()]
    return grid.grid(sheet, columns) if any(sheet) else None


def _tables(manifest: Manifest, work: Work) -> Iterator[pa.Table]:
    for table in shards.each(work.store, manifest.shards[:_MOST_SHARDS]):
        yield good(table).sort_by("id")


def _curve(model: str, manifest: Manifest, made: Made, work: Work, learned: dict[str, Any]) -> page.Curve:
    points = manifest.details["curve"]
    images = {int(point["step"]): int(point["images"]) for point in points}
    grids = [
        page.Checkpoint(images.get(g["step"], 0), work.store.read(g["name"]))
        for g in manifest.details["grids"] if work.store.head(g["name"])
    ]  # fmt: skip
    seen = _seen(made).get(model, {}).get("over_time", [])
    names = {"distance": "distance", "real against real": "floor"}
    over_time = {name: [(p["images"], p[key]) for p in seen] for name, key in names.items() if seen}
    losses = [{k: v for k, v in point.items() if k not in ("step", "attempt")} for point in points]
    turns = [f"Step {turn['step']:,}: {turn['why']}; it went on from step {turn['to']:,}."
             for turn in manifest.details.get("turns", [])]  # fmt: skip
    return page.Curve(model, losses, grids, over_time, [*retrain.words(model, learned), *turns])


def _seen(made: Made) -> dict[str, Any]:
    """Model → what evaluate kept to look at."""
    found: dict[str, Any] = made["evaluate"].details["seen"] if "evaluate" in made else {}
    return found


def _read(work: Work, name: str) -> bytes | None:
    return work.store.read(name) if work.store.head(name) else None


def _nearest(model: str, found: dict[str, Any], made: Made, work: Work) -> page.Nearest:
    copies = made["evaluate"].details["scores"][model]["copies"]
    note = f"{copies['share']:.2%} of {copies['n']:,} rows are below {copies['threshold']:.2f}, where a copy begins"
    pairs = [(one["ratio"], one["distance"]) for one in found["suspects"]]
    return page.Nearest(model, _read(work, found["sheet"]), pairs, note)


def _by_class(made: Made, classes: list[str]) -> dict[str, dict[str, float | None]]:
    """label → what a classifier learned from → the share of real test rows of the label that it finds."""
    scores = made["evaluate"].details["scores"] if "evaluate" in made and classes else {}
    found: dict[str, dict[str, float | None]] = {label: {} for label in classes if scores}
    for model, score in scores.items():
        for name, title in (("real", "real"), ("synthetic", model), ("both", f"real + {model}")):
            for label, share in zip(classes, score["usefulness"]["per_class"][name], strict=True):
                found[label][title] = share
    return found


def _private(made: Made) -> list[Private]:
    """What each private model spent."""
    spent = {name.split()[1]: m.details.get("private") for name, m in made.items() if m.stage == "train"}
    return [Private(model, **found) for model, found in spent.items() if found]


def scores(made: Made, gates: list[Gate]) -> list[page.Score]:
    """The scores of every model in words, each with n, what it was measured with, and what real data gets."""
    asked = {(gate["model"], gate["gate"]): gate for gate in gates}
    found = []
    for model, score in (made["evaluate"].details["scores"] if "evaluate" in made else {}).items():
        for line in words.lines(score):
            gate = asked.get((model, line.gate))
            limit, passed = (gate["limit"], gate["passed"]) if gate else ("", None)
            found.append(
                page.Score(model, line.name, line.value, line.reference, limit, passed, line.meaning, line.measured)
            )
    return found


def _card(step: Step, made: Made, work: Work, version: int, receipts: list[Receipt], learned: Learned) -> card.Card:
    recipe = work.recipe
    empty = release_table(sample_table(0, step.params["texts"]), step.params)
    splits: dict[str, tuple[int, int]] = {}
    for receipt in receipts:
        split = receipt.name.split("/")[-2]
        rows, size = splits.get(split, (0, 0))
        splits[split] = (rows + receipt.rows, size + receipt.bytes)
    return card.Card(
        dataset=recipe.dataset,
        version=f"v{version}",
        title=recipe.release.title or recipe.dataset,
        license=recipe.release.license,
        kind=recipe.kind,
        features=features_of(empty.schema, recipe.kind, step.params["classes"]),
        splits=splits,
        stages=[
            (n, m.counts["in"], m.counts["kept"], m.counts["quarantined"]) for n, m in made.items() if "in" in m.counts
        ],
        quarantine=dict(by_count(made["select"].details["quarantine"])),
        scores=[
            (s.model, s.name, s.value, s.reference, s.limit, s.measured) for s in scores(made, step.params["gates"])
        ],
        refused=[told(gate) for gate in step.params["gates"] if not gate["passed"]],
        accepted=step.params.get("accepted", ""),
        private=_private(made),
        learned=[words for model, said in learned.items() for words in retrain.words(model, said)],
        rows=counts(receipts),
        path=f"{work.store.url}/releases/{recipe.dataset}/v{version}",
        thresholds=_thresholds(recipe, made["select"].details["judge"]["limits"]),
    )


def _thresholds(recipe: Recipe, limits: list[Any]) -> dict[str, str]:
    """Rule → its threshold in words."""
    found = {}
    for rule, _, low, high in limits:
        found[rule] = " ".join(
            f"{word} {limit:g}" for word, limit in (("min", low), ("max", high)) if limit is not None
        )
    if recipe.select.duplicates.radius is not None:
        found["near_duplicate"] = f"radius {recipe.select.duplicates.radius}"
    return found
