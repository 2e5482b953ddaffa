"""Label Studio's JSON: tasks with annotations (what people said) and predictions (what they were shown).

Boxes and polygons are in percent of the image there, and in pixels of the upright image here.
"""

import json
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from dsray.labels.forms import Fields, Object, Said, Sheet, Shown, number, outline, row_id_in, wrong

CHOICE, BOX, POLYGON = ("label", "choices"), ("box", "rectanglelabels"), ("polygon", "polygonlabels")
"""(from_name, type) of the controls that an export configures."""

_LOCAL = "/data/local-files/"


def read(data: bytes, name: str, fields: Fields) -> Sheet:
    """What each annotator chose (a vote, surely) and marked. Without choices, marks of one class are a vote for it.

    Raises SourceError.
    """
    try:
        tasks = json.loads(data)
    except (ValueError, RecursionError) as error:
        wrong(name, "", f"not JSON: {error}")
    if not isinstance(tasks, list):
        wrong(name, "", "not Label Studio's JSON: it is no list of tasks")
    named: list[tuple[str, dict[str, Any]]] = []
    for at, task in enumerate(tasks, 1):
        where = f"task {task.get('id', at) if isinstance(task, dict) else at}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            wrong(name, where, "there is no `data`", "Export as JSON, not JSON-MIN.")
        named.append((where, task))
    by, keys = _keys(named, name, fields)
    said = [one for (where, task), key in zip(named, keys, strict=True) for one in _task(task, key, name, where)]
    return Sheet(by, tuple(said))


def _keys(named: list[tuple[str, dict[str, Any]]], name: str, fields: Fields) -> tuple[str, list[str]]:
    """What the keys are, and the key of each task: the row's id if it has one, else its media's file name."""
    if fields.by in (None, "id") and not fields.key:
        ids = [row_id_in(str(task["data"].get("id", ""))) for _, task in named]
        if all(ids):
            return "id", [str(found) for found in ids]
    keys = []
    for where, task in named:
        column = fields.key or (fields.by if fields.by in task["data"] else _media(task["data"]))
        value = task["data"].get(column)
        if not isinstance(value, str | int) or value == "":
            wrong(name, where, f"its data has no '{column}'; it has: {', '.join(task['data'])}",
                  "Name the right `key` in the recipe.")  # fmt: skip
        keys.append(str(value))
    if fields.by in ("url", "digest"):
        return fields.by, keys
    files = [_file(key) for key in keys]
    found = [row_id_in(file) for file in files]
    by = fields.by or ("id" if found and all(found) else "path")
    return by, [at or file for at, file in zip(found, files, strict=True)] if by == "id" else files


def _media(data: dict[str, Any]) -> str:
    """The field of a task's media: `image`, else the first that looks like a file's address."""
    told = (field for field, value in data.items() if isinstance(value, str) and "/" in value)
    return "image" if "image" in data else next(told, "image")


def _file(url: str) -> str:
    """A file's name as it was before Label Studio took it: uploads get eight digits before."""
    parts = urlsplit(url)
    if parts.path.endswith(_LOCAL) and "d" in (query := parse_qs(parts.query)):
        return query["d"][0]
    path = unquote(parts.path)
    if "/data/upload/" in path:
        before, dash, rest = path.rpartition("/")[2].partition("-")
        return rest if dash and len(before) == 8 else before + dash + rest
    return path.rpartition("/")[2] if "://" in url or path.startswith("/") else path


def _task(task: dict[str, Any], key: str, name: str, where: str) -> list[Said]:
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list):
        wrong(name, where, "`annotations` is no list")
    shown = any(_marks(prediction) for prediction in task.get("predictions") or [])
    said: list[Said] = []
    for annotation in annotations:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
            wrong(name, where, "an annotation has no `result`")
        if not annotation.get("was_cancelled"):
            said += _annotation(annotation, key, shown, name, where)
    return said


def _marks(prediction: Any) -> bool:
    """Whether something is marked in it, so that an annotation without marks took them away."""
    results = prediction.get("result") if isinstance(prediction, dict) else None
    return any(isinstance(one, dict) and one.get("type") in (BOX[1], POLYGON[1]) for one in results or [])


def _annotation(annotation: dict[str, Any], key: str, shown: bool, name: str, where: str) -> list[Said]:
    """A vote for each choice; what is marked goes with the first."""
    choices: list[str] = []
    objects: list[Object] = []
    for result in annotation.get("result", []):
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            wrong(name, where, "a result has no `value`")
        if "choices" in value:
            choices += _labels(value, "choices", name, where)
        elif BOX[1] in value or POLYGON[1] in value:
            objects.append(_object(result, value, name, where))
    classes = choices or sorted({o["label"] for o in objects if o["label"]})
    votes: list[str | None] = [*choices] if choices else [classes[0] if len(classes) == 1 else None]
    marks = objects or ([] if shown or not choices else None)
    who = _who(annotation)
    return [Said(key, who, label, 1.0, marks if at == 0 else None) for at, label in enumerate(votes)]


def _who(annotation: dict[str, Any]) -> str:
    """The annotator's address or number."""
    who = annotation.get("completed_by", "")
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _labels(value: dict[str, Any], kind: str, name: str, where: str) -> list[str]:
    found = value.get(kind)
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        wrong(name, where, f"`{kind}` is no list of labels")
    return [label.strip() for label in found if label.strip()]


def _object(result: dict[str, Any], value: dict[str, Any], name: str, where: str) -> Object:
    """Percent → pixels. A box that is turned about its upper left corner is a polygon."""
    wide, high = (number(result.get(side), name, where, f"`{side}`") for side in ("original_width", "original_height"))
    if POLYGON[1] in value:
        points = value.get("points")
        pairs = isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)
        if not isinstance(points, list) or not pairs or len(points) < 3:
            wrong(name, where, "`points` is no list of three or more [x, y]")
        flat = [number(part, name, where, "a point") for point in points for part in point]
        labels = _labels(value, POLYGON[1], name, where)
        pixels = [part * (high if at % 2 else wide) / 100 for at, part in enumerate(flat)]
        return {"label": labels[0] if labels else None, **outline(pixels)}
    labels = _labels(value, BOX[1], name, where)
    x, y, width, height = (number(value.get(part), name, where, f"`{part}`") for part in ("x", "y", "width", "height"))
    x, y, width, height = x * wide / 100, y * high / 100, width * wide / 100, height * high / 100
    if turn := number(value.get("rotation") or 0, name, where, "`rotation`"):
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
        turned = [part for u, v in corners for part in (x + u * cos - v * sin, y + u * sin + v * cos)]
        return {"label": labels[0] if labels else None, **outline(turned)}
    return {"label": labels[0] if labels else None, "x": x, "y": y, "width": width, "height": height, "polygon": None}


def write(rows: Sequence[Shown], column: str) -> list[dict[str, Any]]:
    """A task each row, its media in `column` as a local file; what is known already are its predictions: first what
    the votes come to, with the objects, then each vote."""
    return [
        {
            "data": {column: f"{_LOCAL}?d={row.file}", "id": row.id, "url": row.url, "page": row.page},
            "predictions": _predictions(row, column),
        }
        for row in rows
    ]


def _predictions(row: Shown, column: str) -> list[dict[str, Any]]:
    chosen = [_choice(row.label, column)] if row.label is not None else []
    marked = [_region(o, at, row, column) for at, o in enumerate(row.objects)] if row.width and row.height else []
    first = [("dsray", row.confidence, [*chosen, *marked])] if chosen or marked else []
    votes = [(vote["source"], vote["confidence"], [_choice(vote["label"], column)]) for vote in row.votes]
    return [
        {"model_version": source, "score": 1.0 if score is None else score, "result": result}
        for source, score, result in [*first, *votes]
    ]


def _choice(label: str, column: str) -> dict[str, Any]:
    return {"id": "label", "from_name": CHOICE[0], "to_name": column, "type": CHOICE[1], "value": {"choices": [label]}}


def _region(o: Object, at: int, row: Shown, column: str) -> dict[str, Any]:
    assert row.width and row.height
    whole = {"original_width": row.width, "original_height": row.height, "image_rotation": 0}
    labels = [o["label"]] if o["label"] else []
    if polygon := o.get("polygon"):
        control, kind = POLYGON
        points = [[x * 100 / row.width, y * 100 / row.height] for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
        value: dict[str, Any] = {"points": points, "closed": True}
    else:
        control, kind = BOX
        across, down = (("x", "width"), row.width), (("y", "height"), row.height)
        value = {part: o[part] * 100 / size for parts, size in (across, down) for part in parts} | {"rotation": 0}
    return {"id": f"object-{at}", "from_name": control, "to_name": column, "type": kind, **whole,
            "value": {**value, kind: labels}}  # fmt: skip


def config(column: str, classes: Sequence[str], marks: Sequence[str]) -> str:
    """The labelling interface: choices of the classes, boxes and polygons of the marks."""
    tag = column.capitalize()
    choices = "".join(f"    <Choice value={quoteattr(label)}/>\n" for label in classes)
    labels = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in marks)
    return (
        f'<View>\n  <{tag} name="{column}" value="${column}"/>\n'
        f'  <Choices name="{CHOICE[0]}" toName="{column}" choice="single">\n{choices}  </Choices>\n'
        f'  <RectangleLabels name="{BOX[0]}" toName="{column}">\n{labels}  </RectangleLabels>\n'
        f'  <PolygonLabels name="{POLYGON[0]}" toName="{column}">\n{labels}  </PolygonLabels>\n</View>\n'
    )
