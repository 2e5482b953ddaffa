"""labels.read and its formats: tables, coco, studio. What a file says, or one sentence on where it is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray.errors import SourceError
from dsray.labels import coco, studio
from dsray.labels.forms import Fields, Said, Shown
from dsray.labels.read import read
from dsray.schema import OBJECT

ROW = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2


def of(data: str | list | dict, name: str = "labels.json", format_: str | None = None, **fields):
    text = data if isinstance(data, str) else json.dumps(data)
    return read(text.encode(), name, format_, Fields(**fields))


def problem(data, name: str = "labels.json", **fields) -> str:
    with pytest.raises(SourceError) as caught:
        of(data, name, **fields)
    return str(caught.value)


def test_csv_and_json_lines_say_the_same():
    table = of("path,label,sure,who\na.png,cat,0.5,ann\nb/c.png, dog ,,bob\nd.png,,1,ann\n", "labels.csv",
               confidence="sure", source="who")  # fmt: skip
    lines = of('{"path": "a.png", "label": "cat", "sure": 0.5, "who": "ann"}\n\n'
               '{"path": "b/c.png", "label": "dog", "who": "bob"}\n{"path": "d.png", "label": null}\n', "labels.jsonl",
               confidence="sure", source="who")  # fmt: skip
    assert table == lines
    assert table.by == "path"
    assert table.said == (Said("a.png", "ann", "cat", 0.5, None), Said("b/c.png", "bob", "dog", 1.0, None))


def test_tables_as_spreadsheets_write_them():
    assert of("\ufeffid;label\r\n7;3\r\n", "l.csv").said == (Said("7", "", "3", 1.0, None),)
    assert of('url\tlabel\nhttp://x/a,b.png\t"two\nlines"\n', "l.tsv").said[0].label == "two\nlines"
    assert of("name,class\na.png,cat\n", "l.csv", by="path", key="name", label="class").by == "path"


def test_a_key_that_comes_twice_is_said_twice():
    assert [one.label for one in of("id,label\na,x\na,y\n", "l.csv").said] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "name", "fields", "said"),
    [
        ("path,class\na,b\n", "l.csv", {}, "l.csv: there is no column 'label'; it has: path, class."),
        ("file,label\na,b\n", "l.csv", {}, "l.csv: no column says which row a label is for; it has: file, label."),
        ("", "l.csv", {}, "no column says which row"),
        ("id,label\na,b,c\n", "l.csv", {}, "l.csv, line 2: more cells than the header has."),
        ("id,label\n\na\n", "l.csv", {}, "l.csv, line 3: fewer cells than the header has."),
        ("id,label\n,b\n", "l.csv", {}, "l.csv, line 2: 'id' is empty."),
        ('id,label\n"a,b\n', "l.csv", {}, "l.csv, line 2: not CSV"),
        ("id,label,p\na,b,1.5\n", "l.csv", {"confidence": "p"}, "line 2: the confidence is '1.5', not a number from"),
        ("id,label,p\na,b,nan\n", "l.csv", {"confidence": "p"}, "line 2: the confidence is 'nan'"),
        ('{"id": "a", "label": "b"}\n{"id"\n', "l.jsonl", {}, "l.jsonl, line 2: not JSON"),
        ("[1]\n", "l.jsonl", {}, "l.jsonl, line 1: not a JSON object."),
        ('{"id": "a", "label": ["b"]}\n', "l.jsonl", {}, "line 1: 'label' is [\"b\"], not a text or number."),
        ("{}", "l.json", {}, "l.json: its format cannot be told. Name it as `format`: csv, jsonl, coco, label-studio."),
        ("{", "l.json", {}, "l.json: not JSON"),
        ("whatever", "l.xml", {}, "its format cannot be told"),
    ],
)
def test_a_bad_table_is_one_sentence(text, name, fields, said):
    assert said in problem(text, name, **fields)


def test_bytes_that_are_no_text():
    with pytest.raises(SourceError, match="byte 10: not UTF-8"):
        read(b"id,label\na\xff,b\n", "l.csv", None, Fields())


COCO = {
    "images": [{"id": 1, "file_name": "d/a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 1, 0, 0, 1], [0, 0, 9, 0, 9, 9, 0, 9]]},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": {"counts": "x"}},
        {"id": 4, "image_id": 2, "category_id": 9, "bbox": [0, 0, 2, 2]},
    ],
}


def test_coco_boxes_polygons_and_the_class_of_an_image_of_one():
    sheet = of(COCO)
    assert sheet.by == "path"
    first, second = sheet.said
    assert (first.key, first.label, first.confidence) == ("d/a.jpg", "cat", 0.5)
    assert first.objects == [
        {"label": "cat", "x": 1, "y": 2, "width": 3, "height": 4, "polygon": None},
        {"label": "cat", "x": 0, "y": 0, "width": 9, "height": 9, "polygon": [0, 0, 9, 0, 9, 9, 0, 9]},
    ]
    assert (second.key, second.label) == ("b.jpg", None), "two categories are no label"
    assert [o["label"] for o in second.objects] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [{"image_id": 7, "category_id": 1}]}, "annotations entry 1: there is no image 7."),
        ({"annotations": [{"image_id": 1, "category_id": [1]}]}, "annotations entry 1: there is no category [1]."),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}, "`bbox` is not x, y, width, height"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, -3, 1]}]}, "`bbox` has a negative size"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, "3", 1]}]}, "is '3', not a number"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]}]}, "`segmentation`"),
        ({"annotations": ["x"]}, "annotations entry 1: not a JSON object"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}, "images entry 2: the id 1 is"),
        ({"images": [{"id": 1}], "annotations": []}, "images entry 1: there is no 'file_name'"),
    ],
)  # fmt: skip
def test_bad_coco_is_one_sentence(change, said):
    assert said in problem({**COCO, **change})


def task(*annotations: dict, **data) -> dict:
    return {"id": 5, "data": {"image": "/data/upload/1/abcd1234-a.png", **data}, "annotations": list(annotations)}


def chosen(label: str, **more) -> dict:
    return {"result": [{"type": "choices", "value": {"choices": [label]}}], **more}


def box(label: str, x: float, y: float, w: float, h: float, **more) -> dict:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [label], **more}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 50, "value": value}


def test_label_studio_has_a_vote_for_each_annotator():
    sheet = of([task(chosen("cat", completed_by={"id": 3, "email": "a@x"}), chosen("dog", completed_by=4),
                     chosen("cow", was_cancelled=True))])  # fmt: skip
    assert sheet.by == "path"
    assert [(one.key, one.who, one.label) for one in sheet.said] == [("a.png", "a@x", "cat"), ("a.png", "4", "dog")]


@pytest.mark.parametrize(
    ("image", "by", "key"),
    [
        ("/data/local-files/?d=some/a.png", "path", "some/a.png"),
        (f"/data/local-files/?d=media/{ROW}.png", "id", ROW),
        (f"/data/upload/2/0011aabb-{ROW}.jpeg", "id", ROW),
        ("http://site/x/a%20b.png?w=2", "path", "a b.png"),
        ("some/a.png", "path", "some/a.png"),
    ],
)
def test_label_studio_finds_the_row_by_its_file(image, by, key):
    sheet = of([task(chosen("x"), image=image)])
    assert (sheet.by, sheet.said[0].key) == (by, key)


def test_label_studio_marks_are_pixels():
    turned = box("cat", 50, 0, 10, 20, rotation=90)
    triangle = {"type": "polygonlabels", "original_width": 200, "original_height": 50,
                "value": {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["cat"]}}  # fmt: skip
    (said,) = of([task({"result": [box("cat", 10, 20, 5, 40), turned, triangle]})]).said
    assert said.label == "cat", "marks of one class are a vote"
    plain, about, three = said.objects
    assert plain == {"label": "cat", "x": 20, "y": 10, "width": 10, "height": 20, "polygon": None}
    assert about["polygon"] == pytest.approx([100, 0, 100, 20, 90, 20, 90, 0])
    assert [about[part] for part in ("x", "y", "width", "height")] == pytest.approx([90, 0, 10, 20])
    assert three["polygon"] == [0, 0, 100, 0, 100, 50] and three["width"] == 100


def test_nothing_marked_where_something_was_shown_is_an_answer():
    shown = {"predictions": [{"result": [box("cat", 0, 0, 1, 1)]}]}
    assert of([{**task(chosen("x")), **shown}]).said[0].objects == []
    assert of([task(chosen("x"))]).said[0].objects is None
    assert of([task({"result": []})]).said[0].objects == []
    assert of([{**task(), **shown}]).said == (), "what was shown is no answer"


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([{"image": "x", "choice": "y"}], "labels.json, task 1: there is no `data`. Export as JSON, not JSON-MIN."),
        ([task(chosen("x"), image="")], "task 5: its data has no 'image'; it has: image. Name the right `key`"),
        ([task({"result": [box("cat", 1, 1, 1, "z")]})], "task 5: `height` is 'z', not a number"),
        ([task({"result": [{"value": {"x": 1, "rectanglelabels": ["a"]}}]})], "`original_width` is None, not a number"),
        ([task({"result": [{}]})], "task 5: a result has no `value`"),
        ([task({"result": 3})], "task 5: an annotation has no `result`"),
        ([task({"result": [{"value": {"choices": "x"}}]})], "task 5: `choices` is no list of labels"),
        ("[", "labels.json: not JSON"),
    ],
)
def test_bad_label_studio_is_one_sentence(tasks, said):
    assert said in problem(tasks)


SIZE = st.integers(1, 5000)
SHARE = st.floats(0, 1)


@st.composite
def rows(draw) -> list[Shown]:
    found = []
    for row_id in (ROW, OTHER):
        wide, high = draw(SIZE), draw(SIZE)
        objects = []
        for _ in range(draw(st.integers(0, 3))):
            u, v = draw(SHARE), draw(SHARE)
            o = {"label": draw(st.sampled_from(["cat", "dog"])), "x": u * wide, "y": v * high,
                 "width": (1 - u) * wide, "height": (1 - v) * high, "polygon": None}  # fmt: skip
            if draw(st.booleans()):
                x, y, w, h = (o[part] for part in ("x", "y", "width", "height"))
                o["polygon"] = [x, y, x + w, y, x + w / 2, y + h]
            objects.append(o)
        label = draw(st.none() | st.sampled_from(["a<b", 'c"d', "ü"]))
        votes = [{"source": "s", "label": label, "confidence": 0.5}] if label else []
        found.append(Shown(row_id, f"media/{row_id}.png", "http://x/a", "", wide, high, label, 0.5, votes, objects))
    return found


def near(one: list[dict] | None, other: list[dict] | None) -> bool:
    flat = [[[o["label"], *(o["polygon"] or ()), *(o[p] for p in ("x", "y", "width", "height"))] for o in part or ()]
            for part in (one, other)]  # fmt: skip
    return [o[0] for o in flat[0]] == [o[0] for o in flat[1]] and all(
        a[1:] == pytest.approx(b[1:], abs=1e-6) for a, b in zip(*flat, strict=True)
    )


@given(rows())
def test_coco_goes_out_and_comes_back(shown):
    written = json.loads(json.dumps(coco.write(shown, ["spare"])))
    structure(written)
    back = {one.key: one for one in of(written).said}
    assert of(written).by == "id"
    for row in shown:
        one = back.get(row.id, Said("", "", None, 1.0, None))
        names = {o["label"] for o in row.objects}
        assert one.label == (row.label or (names.pop() if len(names) == 1 else None))
        assert near(one.objects, row.objects)


@given(rows())
def test_label_studio_goes_out_and_comes_back(shown):
    tasks = json.loads(json.dumps(studio.write(shown, "image")))
    for row, one in zip(shown, tasks, strict=True):
        assert one["data"]["image"] == f"/data/local-files/?d=media/{row.id}.png"
        for prediction in one["predictions"]:
            assert 0 <= prediction["score"] <= 1 and isinstance(prediction["model_version"], str)
            for region in prediction["result"]:
                assert region["from_name"] in ("label", "box", "polygon") and region["to_name"] == "image"
                assert region["type"] in region["value"], "a region's value holds its labels under its type"
        one["annotations"] = [{"result": one["predictions"][0]["result"]}] if one["predictions"] else []
    back = {said.key: said for said in of(tasks).said}
    for row in shown:
        if row.label or row.objects:
            assert near(back[row.id].objects, row.objects)
            assert not row.label or back[row.id].label == row.label


def test_the_labelling_interface_names_what_the_tasks_name():
    import xml.etree.ElementTree as xml

    root = xml.fromstring(studio.config("image", ['a"<b'], ["cat"]))
    controls = {child.attrib["name"]: child for child in root}
    assert controls["image"].attrib["value"] == "$image"
    assert {studio.CHOICE[0], studio.BOX[0], studio.POLYGON[0]} == controls.keys() - {"image"}
    assert controls["label"][0].attrib["value"] == 'a"<b'


def structure(found: dict) -> None:
    """What pycocotools and its like rely on."""
    assert {"info", "images", "annotations", "categories"} <= found.keys()
    ids = {part: [one["id"] for one in found[part]] for part in ("images", "annotations", "categories")}
    assert all(len(set(numbers)) == len(numbers) for numbers in ids.values())
    for one in found["annotations"]:
        assert one["image_id"] in ids["images"] and one["category_id"] in ids["categories"]
        assert len(one["bbox"]) == 4 and min(one["bbox"][2:]) >= 0 and one["area"] >= 0 and one["iscrowd"] == 0
        assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in one["segmentation"])
    for image in found["images"]:
        assert image["file_name"] and image["width"] > 0 and image["height"] > 0


def test_an_object_has_the_fields_of_the_schema():
    (said,) = of([task({"result": [box("cat", 10, 20, 5, 40)]})]).said
    assert list(said.objects[0]) == [field.name for field in OBJECT]
