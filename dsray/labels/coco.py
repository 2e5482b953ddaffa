"""COCO: images, categories, and annotations with boxes and polygons in pixels (Lin et al., 2014).

A label of the whole image has no place there: it is an annotation of the whole image with the attribute `image_label`.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dsray.labels.forms import Fields, Object, Said, Sheet, Shown, area, confidence, number, outline, row_id_in, wrong

_KEYS = {"id": "file_name", "path": "file_name", "url": "coco_url"}

WHOLE = "image_label"


def read(data: bytes, name: str, fields: Fields) -> Sheet:
    """Boxes and polygons; and of each image a vote, when it is labelled as a whole or all annotations are of one
    category. Raises SourceError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        wrong(name, "", f"not JSON: {error}")
    if not isinstance(found, dict) or "images" not in found:
        wrong(name, "", "not COCO: there is no `images`")
    images = _numbered(found, "images", name)
    names = {number: str(one.get("name", number)) for number, one in _numbered(found, "categories", name).items()}
    of_image: dict[Any, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for where, one in _each(found, "annotations", name):
        if not _known(one.get("image_id"), images):
            wrong(name, where, f"there is no image {one.get('image_id')!r}")
        if not _known(one.get("category_id"), names):
            wrong(name, where, f"there is no category {one.get('category_id')!r}")
        of_image[one["image_id"]].append((where, one))
    by, keys = _keys(images, name, fields)
    said = [found for image, key in keys.items() if (found := _said(key, of_image[image], names, name))]
    if any(each.objects for each in said):  # then an image that is labelled and has no objects was looked at
        said = [each._replace(objects=each.objects or []) for each in said]
    return Sheet(by, tuple(said))


def _known(number_: Any, among: dict[Any, Any]) -> bool:
    return isinstance(number_, int | str) and number_ in among


def _each(found: dict[str, Any], part: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    entries = found.get(part, [])
    if not isinstance(entries, list):
        wrong(name, "", f"`{part}` is no list")
    for at, one in enumerate(entries, 1):
        if not isinstance(one, dict):
            wrong(name, f"{part} entry {at}", "not a JSON object")
    return [(f"{part} entry {at}", one) for at, one in enumerate(entries, 1)]


def _numbered(found: dict[str, Any], part: str, name: str) -> dict[Any, dict[str, Any]]:
    numbered: dict[Any, dict[str, Any]] = {}
    for where, one in _each(found, part, name):
        number_ = one.get("id")
        if not isinstance(number_, int | str) or number_ in numbered:
            wrong(name, where, f"the id {number_!r} is missing, or there twice")
        numbered[number_] = one
    return numbered


def _keys(images: dict[Any, dict[str, Any]], name: str, fields: Fields) -> tuple[str, dict[Any, str]]:
    """What the keys are, and the key of each image. An export's own file names hold the rows' ids."""
    column = fields.key or _KEYS.get(fields.by or "path", fields.by or "")
    keys = {}
    for at, (number_, image) in enumerate(images.items(), 1):
        keys[number_] = str(image.get(column) or "")
        if not keys[number_]:
            wrong(name, f"images entry {at}", f"there is no '{column}'", "Name the right `key` in the recipe.")
    ids = {number_: row_id_in(key) for number_, key in keys.items()}
    by = fields.by or ("id" if keys and all(ids.values()) else "path")
    return by, {number_: ids[number_] or key for number_, key in keys.items()} if by == "id" else keys


def _said(key: str, annotations: list[tuple[str, dict[str, Any]]], names: dict[Any, str], name: str) -> Said | None:
    if not annotations:
        return None
    whole: dict[str, float] = {}
    marked: dict[str, float] = {}
    objects = []
    for where, one in annotations:
        label, sure = names[one["category_id"]], confidence(one.get("score"), name, where)
        spot = None if _is_whole(one) else _object(one, name, where)
        votes = marked if spot else whole
        votes[label] = min(sure, votes.get(label, 1.0))
        if spot:
            objects.append({"label": label, **spot})
    votes = whole or marked
    label_ = next(iter(votes)) if len(votes) == 1 else None
    return Said(key, "", label_, votes[label_] if label_ else 1.0, objects or None)


def _is_whole(one: dict[str, Any]) -> bool:
    attributes = one.get("attributes")
    return isinstance(attributes, dict) and bool(attributes.get(WHOLE))


def _object(one: dict[str, Any], name: str, where: str) -> Object | None:
    """Its box, and the largest ring of its outline; None without either. A run-length mask has no outline here."""
    rings = one.get("segmentation") or []
    rings = rings if isinstance(rings, list) else []
    for ring in rings:
        if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
            wrong(name, where, "a `segmentation` is no list of x, y, x, y, x, y, ...")
    outlines = [[number(value, name, where, "a coordinate") for value in ring] for ring in rings]
    polygon = max(outlines, key=area) if outlines else None
    box = one.get("bbox")
    if not box:
        return outline(polygon) if polygon else None
    if not isinstance(box, list) or len(box) != 4:
        wrong(name, where, "`bbox` is not x, y, width, height")
    x, y, width, height = (number(value, name, where, "a `bbox` value") for value in box)
    if width < 0 or height < 0:
        wrong(name, where, "`bbox` has a negative size")
    return {"x": x, "y": y, "width": width, "height": height, "polygon": polygon}


def write(rows: Sequence[Shown], classes: Sequence[str]) -> dict[str, Any]:
    """The rows' labels and objects, each of a category in `classes`, as one COCO file."""
    named = {row.label for row in rows if row.label is not None}
    categories = sorted({*classes, *named, *(o["label"] or "object" for row in rows for o in row.objects)})
    numbers = {label: at for at, label in enumerate(categories, 1)}
    images, annotations = [], []
    for at, row in enumerate(rows, 1):
        size = {"width": row.width or 0, "height": row.height or 0}
        images.append({"id": at, "file_name": row.file, **size, "coco_url": row.url, "date_captured": ""})
        parts = [_annotation(o, {}) for o in row.objects]
        if row.label is not None:
            box = {"label": row.label, "x": 0.0, "y": 0.0, "width": row.width or 0, "height": row.height or 0}
            parts.append(_annotation(box, {"attributes": {WHOLE: True}}))
        annotations += [{"image_id": at, "category_id": numbers[label], **part} for label, part in parts]
    return {
        "info": {"description": "Rows to label, by dsray"},
        "licenses": [],
        "images": images,
        "categories": [{"id": at, "name": label, "supercategory": ""} for label, at in numbers.items()],
        "annotations": [{"id": at, **one} for at, one in enumerate(annotations, 1)],
    }


def _annotation(o: Object, more: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    polygon = o.get("polygon")
    box = [o["x"], o["y"], o["width"], o["height"]]
    size = area(polygon) if polygon else o["width"] * o["height"]
    part = {"bbox": box, "area": size, "segmentation": [polygon] if polygon else [], "iscrowd": 0, **more}
    return o["label"] or "object", part
