"""A story as a person reads it: sections of names and values, no line wider than 120 columns."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from dsray.trace.replay import Check
from dsray.trace.story import File, Real, Story
from dsray.trace.trail import Said

Line = tuple[str, str]
"""A name and a value; both may be empty."""

_WIDTH, _NAME = 120, 18
_CELLS = 3  # facts in a line
_SHOWN = 8  # copies, members of a cluster, shards; --json has all
_ABSENT = "–"


def show(console: Console, story: Story | File) -> None:
    """Prints a story."""
    head, sections = file_sections(story) if isinstance(story, File) else row_sections(story)
    console.print(Text(head, "bold"), highlight=False)
    for title, lines in sections:
        console.print(Text(f"\n{title}", "bold"), highlight=False)
        for name, value in lines:
            for number, part in enumerate(_wrapped(value)):
                said = name if number == 0 else ""
                console.print(Text.assemble((f"  {said:<{_NAME - 2}}", "dim"), part), highlight=False)


def as_json(story: Story | File) -> str:
    """All of it, for programs."""
    return json.dumps(asdict(story), indent=1, default=str, ensure_ascii=False)


def row_sections(story: Story) -> tuple[str, list[tuple[str, list[Line]]]]:
    """The first line and (title, lines) of all that is known of a row."""
    sections: list[tuple[str, list[Line]]] = []
    if story.origin == "real":
        sections.append(("where from", [(name, str(value)) for name, value in story.sample.items()]))
        for row in story.real:
            here = row.raw["error"] is None
            sections += [("where from", _source(row)), ("facts", _facts(row.facts) if here else []),
                         ("label", _label(row)), ("verdict", _verdict(row)),
                         ("form", [("", _joined(story.form))] if here else [])]  # fmt: skip
    elif story.model:
        sections += [("made by", _maker(story)), ("form", [("", _sample(story))])]
    else:
        sections.append(("made from", _making(story)))
        for row, title in zip(story.real, ("parent", "second parent"), strict=False):
            sections.append((f"{title} {row.id}", [*_source(row), ("label", _label(row)[0][1]), *_verdict(row)]))
    if story.also:
        sections.append(("other rows of this URL", [(one["id"][:12], _other(one)) for one in story.also]))
    made = _made_of_it(story)
    sections += [("made of it", made)] if made else []
    sections.append(("releases", _releases(story)))
    sections += [("stages", list(story.stages.items())), _replayed(story.checks)]
    return f"{story.id}  {story.origin} row, in the build of {story.build}", [one for one in sections if one[1]]


def file_sections(file: File) -> tuple[str, list[tuple[str, list[Line]]]]:
    """The first line and (title, lines) of a file of a release."""
    labels = ", ".join(f"{name} ({rows:,})" for name, rows in file.labels.items())
    about = [("rows", f"{file.rows:,}, {file.origin}, {file.split}"), ("bytes", f"{file.bytes:,}"),
             ("digest", file.digest), ("labels", labels)]  # fmt: skip
    sources: list[Line] = []
    for one in file.sources[:_SHOWN]:
        sources.append((f"{one['rows']:,} rows", one["samples"]))
        sources += [("  of", one["raw"])] if one["raw"] else []
    sources += _more(len(file.sources))
    sections = [("holds", about), ("came of", sources)]
    sections += [("made by", _model(file.model))] if file.model else []
    return f"{file.name}  of {file.build}", [*sections, ("stages", list(file.stages.items()))]


def _replayed(checks: Sequence[Check]) -> tuple[str, list[Line]]:
    media = next((check for check in checks if check.what == "media"), None)
    short = media.words.split(", as in ")[0] if media else ""
    title = f"replayed: {short}{', equal' * bool(media.equal)}" if media else "replayed"
    marks = {True: "equal", False: "NOT EQUAL", None: "not judged"}
    return title, [(check.what, f"{marks[check.equal]:<12}{check.words}") for check in checks]


def _source(row: Real) -> list[Line]:
    raw = row.raw
    status = [f"HTTP {raw['status']}"] if raw["status"] is not None else []
    got = [*status, *([raw["headers"]["content-type"]] if (raw["headers"] or {}).get("content-type") else [])]
    lines = [("source", raw["source"]), ("url", raw["url"])]
    lines += [("final url", raw["final_url"])] if raw["final_url"] not in (None, raw["url"]) else []
    lines += [("page", raw["page"])] if raw["page"] else []
    lines.append(("fetched", ", ".join([*([raw["fetched_at"]] if raw["fetched_at"] else []), *got]) or _ABSENT))
    lines += [("failed", raw["error"])] if raw["error"] else []
    known = {"id", "source", "url", "final_url", "page", "status", "headers", "fetched_at", "digest", "error",
             "evidence", "licence"}  # fmt: skip
    lines += [(name, value) for name, value in raw.items() if name not in known and value is not None]
    lines += [("licence", raw["licence"] or "none declared"), ("consent", _consent(row))]
    if crawl := row.crawl:
        when = f"round {crawl['round']}" if crawl["round"] else "at its end"
        said = f"number {crawl['number']}, {when}, {crawl['folder']}"
        lines.append(("crawl", said if crawl["folder"] else "not known: the records of older crawls are gone"))
    return [*lines, ("raw shard", row.places["collect"]), *([("payload", raw["digest"])] if raw["digest"] else [])]


def _consent(row: Real) -> str:
    evidence = row.raw["evidence"] or {}
    obeyed = "opt-outs are obeyed" if row.opt_outs_obeyed else "opt-outs are NOT obeyed by this recipe"
    if row.raw["error"] in ("opted_out", "robots"):
        said = f"{evidence.get('signal', row.raw['error'])}: {evidence.get('value', '')}".rstrip(": ")
        return f"refused by {said} ({evidence.get('where', row.raw['url'])}); no payload was kept"
    return f"{_joined(evidence)}; {obeyed}" if evidence else f"no opt-out was found; {obeyed}"


def _facts(facts: Said) -> list[Line]:
    cells = [f"{name:<17} {_value(value)}" for name, value in facts.items() if value is not None]
    rows = [cells[at : at + _CELLS] for at in range(0, len(cells), _CELLS)]
    return [("", " ".join(f"{cell:<{(_WIDTH - _NAME) // _CELLS - 1}}" for cell in row).rstrip()) for row in rows]


def _label(row: Real) -> list[Line]:
    said = row.label
    if not said:
        return []
    if said["label"] is None:
        return [("comes to", "no label")]
    numbers = f"confidence {said['confidence']:.4g}, agreement {said['agreement']:.4g}"
    votes = [("vote", f"{vote['label']}, {vote['source']}, confidence {vote['confidence']:.4g}")
             for vote in said["votes"] or ()]  # fmt: skip
    marks = [("objects", f"{len(said['objects'])}")] if said["objects"] else []
    return [("comes to", f"{said['label']}, as {said['label_source']} says; {numbers}"), *votes, *marks]


def _verdict(row: Real) -> list[Line]:
    said = row.verdict
    if not said:
        return [("", "its stages are not on the lake: they are gone, or the build is not complete")]
    weight = f", weight {said['weight']:.4g}" if said["weight"] is not None else ""
    if said["kept"]:
        lines = [("kept", f"in {said['split']}{weight}")]
    else:
        limit = f" ({said['threshold']})" if said["threshold"] else ""
        lines = [("quarantined", f"{said['rule']}: {said['value'] or 'no value'}{limit}")]
    for one in row.cluster[:_SHOWN]:
        state = f"kept in {one['split']}" if one["kept"] else one["rule"]
        bits = "" if one["bits"] is None else f"{one['bits']} bit{'s' * (one['bits'] != 1)} apart  "
        lines.append(("like it", f"{one['id']}  {state}  {bits}{one['url']}"))
    return lines + _more(row.cluster_rows)


def _making(story: Story) -> list[Line]:
    said = story.sample
    lines = [("parent", said["parent"])] if "parent" in said else []
    if mixed := said.get("mixed"):
        share = f"the parent's share is {mixed['share']:.4g}"
        lines.append(("mixed with", f"{mixed['parent']}, label {mixed['label']}; {share}"))
    return [*lines, ("transform", _joined(said.get("transform", {}))), ("label", str(said.get("label", _ABSENT)))]


def _maker(story: Story) -> list[Line]:
    assert story.model
    drawn = [("drawn", f"seed {story.sample['seed']}, index {story.sample['index']}")]
    drawn += [("with", _joined(story.sample["transform"]))] if story.sample.get("transform") else []
    return [*_model(story.model), *drawn, ("label", str(story.sample.get("label", _ABSENT)))]


def _model(model: Said) -> list[Line]:
    if "key" not in model:
        return [("model", f"{model['digest']}, no longer on the lake")]
    rows = "" if model["training_rows"] is None else f"{model['training_rows']:,} rows, {model['training_set']}"
    private = model["private"]
    spent = f"({private['epsilon']:g}, {private['delta']:g}), a row; {private['accountant']}" if private else ""
    gathered = f"{model['gather']}, {len(model['samples']):,} shards of gather" if model["gather"] else ""
    lines = [
        ("model", f"{model['name']}, architecture {model['architecture']}, trained with seed {model['seed']}"),
        ("numbers", _joined(model["numbers"])), ("trained as", model["key"]), ("weights", model["digest"]),
        ("learned from", rows), ("training set", gathered), ("began as", model["warm_from"] or ""), ("private", spent),
    ]  # fmt: skip
    return [line for line in lines if line[1]]


def _sample(story: Story) -> str:
    return _joined({name: story.form[name] for name in ("side", "size", "mode", "format") if story.form.get(name)})


def _made_of_it(story: Story) -> list[Line]:
    lines: list[Line] = []
    if story.origin == "real":
        copies = [one for row in story.real for one in row.copies]
        for one in copies[:_SHOWN]:
            name = "augmented" if one["as"] == "parent" else "mixed into"
            lines.append((name, f"{one['id']}  {_joined(one['transform'], ('noise_seed', 'partner'))}"))
        lines += _more(len(copies))
    for model in story.models:
        through = f", which began as {model['through']}" if model["through"] else ""
        lines.append(("model", f"{model['name']} {model['key']}, {', '.join(model['builds'])}{through}"))
    return lines


def _releases(story: Story) -> list[Line]:
    lines = []
    for one in story.releases:
        gone = f", withdrawn: {one['withdrawn']}" if one["withdrawn"] else ""
        lines.append((one["release"], f"{one['file']} row {one['row']}{gone}"))
    return lines or [("", "in none")]


def _other(one: Said) -> str:
    state = "kept" if one.get("kept") else one.get("rule") or one["error"] or "not in this build"
    return f"{one['id']}, fetched {one['fetched_at']}, {state}"


def _more(count: int) -> list[Line]:
    return [("", f"and {count - _SHOWN:,} more: --json has them")] if count > _SHOWN else []


def _joined(said: Said, without: Iterable[str] = ()) -> str:
    """`rotate -4.44, scale 0.911, mix (how mixup, share 0.2)`"""
    parts = []
    for name, value in said.items():
        if value is not None and name not in without:
            parts.append(f"{name} ({_joined(value)})" if isinstance(value, dict) else f"{name} {_value(value)}")
    return ", ".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _wrapped(value: str) -> list[str]:
    return textwrap.wrap(value, _WIDTH - _NAME, break_on_hyphens=False) or [""]
