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
from dsray.report import card, charts, grid, page
from dsray.stages.choose.quarantine import caught
from dsray.stages.release import Part, features_of, parts, release_table
from dsray.stages.samples import good, sample_table
from dsray.stages.select import by_count
from dsray.stages.step import Made, Step, Work
from dsray.version import __version__

_EXAMPLES = 8
_MOST_FACTS = 200_000
_MOST_SHARDS = 16
_GRID_ROWS = 6
_THUMBNAIL = 72  # pixels


def documents(step: Step, made: Made, work: Work, version: int, receipts: list[Receipt]) -> dict[str, str]:
    """File name → text, for the folder of the release."""
    origin_counts = counts(receipts)
    manifest = {
        "dataset": work.recipe.dataset,
        "version": version,
        "kind": work.recipe.kind,
        "classes": step.params["classes"],
        **step.params["form"],
        "dsray": __version__,
        "recipe": work.recipe.model_dump(mode="json"),
        "shards": [receipt.__dict__ for receipt in receipts],
        "rows": origin_counts,
        "rows_in": made["collect"].counts["in"],
        "quarantine": made["select"].details["quarantine"],
        "scores": made["evaluate"].details["scores"] if "evaluate" in made else {},
        "gates": step.params["gates"],
        "stages": {name: {"key": m.key, "version": m.version, "counts": m.counts} for name, m in made.items()},
    }
    return {
        "README.md": card.card(_card(step, made, work, version, receipts)),
        "report.html": page.render(_report(step, made, work, version)),
        "manifest.json": json.dumps(manifest, indent=1, sort_keys=True),
    }


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


def _report(step: Step, made: Made, work: Work, version: int) -> page.Report:
    rows_in = made["collect"].counts["in"]
    quarantine, signals = _quarantine_and_signals(made, work)
    classes = step.params["classes"]
    synthetic = [part for part in parts(made) if part.name not in ("real", "augmented")]
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
        training=[_curve(name.split()[1], m, work) for name, m in made.items() if m.stage == "train"],
        scores=scores(made, step.params["gates"]),
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
    for receipt in manifest.shards[:_MOST_SHARDS]:
        yield good(shards.read(work.store, receipt)).sort_by("id")


def _curve(model: str, manifest: Manifest, work: Work) -> page.Curve:
    points = manifest.details["curve"]
    images = {int(point["step"]): int(point["images"]) for point in points}
    grids = [
        page.Checkpoint(images.get(g["step"], 0), work.store.read(g["name"]))
        for g in manifest.details["grids"] if work.store.head(g["name"])
    ]  # fmt: skip
    return page.Curve(model, [{k: v for k, v in point.items() if k != "step"} for point in points], grids)


def scores(made: Made, gates: list[dict[str, Any]]) -> list[page.Score]:
    """The scores of every model in words, each with n, what it was measured with, and what real data gets."""
    gate = {(g["model"], g["gate"]): g for g in gates}
    found = []
    for model, score in (made["evaluate"].details["scores"] if "evaluate" in made else {}).items():
        use, distance, copies = score["usefulness"], score["distance"], score["copies"]
        mean = {name: sum(use[name]) / len(use[name]) for name in ("real", "synthetic", "both")}
        rows = [
            ("usefulness", f"{use['ratio']:.3f}",
             f"accuracy: synthetic {mean['synthetic']:.3f}, real {mean['real']:.3f}, both {mean['both']:.3f}",
             f"accuracy on held-out real rows after training on {use['rows_synthetic']:,} synthetic rows, "
             f"over that after training on {use['rows_real']:,} real rows; {len(use['real'])} seeds"),
            ("distance", f"{distance['distance']:.2f}", f"real against real {distance['floor']:.2f}",
             f"Fréchet distance in features of a small network trained on real rows; not FID; n = {distance['n']:,}"),
            ("copies", f"{copies['share']:.2%}",
             f"control: {copies['control_detected']} of {copies['control_planted']} planted copies found",
             f"share of synthetic rows much nearer to one training row than to the next, n = {copies['n']:,}; "
             f"held-out real rows {copies['held_out_share']:.2%}"),
        ]  # fmt: skip
        for name, value, reference, words in rows:
            limit = gate.get((model, name), {})
            found.append(page.Score(model, name, value, reference, limit.get("limit", ""), limit.get("passed"), words))
    return found


def _card(step: Step, made: Made, work: Work, version: int, receipts: list[Receipt]) -> card.Card:
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
        scores=[(s.model, s.name, s.value, s.reference, s.limit) for s in scores(made, step.params["gates"])],
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
