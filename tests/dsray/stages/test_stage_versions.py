"""A stage whose output on a fixed sample changes must change its VERSION: keys are only true if versions are.

After a change that is meant: raise the stage's VERSION, then run `python tests/dsray/stages/test_stage_versions.py`,
which writes versions.json anew.
"""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from dsray import keys
from dsray.kinds import image
from dsray.lake.shards import encode
from dsray.selection import drop_of
from dsray.stages import augment, gather, label, measure, release, render, select
from dsray.stages.choose import decision
from dsray.stages.choose.rules import Judge
from rows import drawing, facts_of, lent, png, raw_table

KEPT = Path(__file__).with_name("versions.json")
SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}
AUGMENT = {"copies": 1, "rotate": 12.0, "scale": [0.9, 1.1], "translate": 0.08, "shear": 3.0, "flip": True,
           "brightness": 0.1, "contrast": 0.1, "noise": 0.03}  # fmt: skip
PATTERN = [{"pattern": {"column": "caption", "regex": r"digit (\d)"}}]
Drop = drop_of(image.BOUNDS, image.MEANINGS, image.FLAGS)
DROP = Drop.model_validate({"min_side": 16, "blur": {"min": 15}, "low_information": {"min": 0.3}})
SPLIT = {"train": 0.8, "validation": 0.1, "test": 0.1}
PARAMS = {"classes": [str(digit) for digit in range(10)], "kind": "image", "texts": ["caption"],
          "columns": [], "form": {"values": "bytes"}, "shape": None}  # fmt: skip


def outputs() -> dict[str, dict[str, object]]:
    """Stage → its version and the digest of what it makes of the sample."""
    good = [png(drawing(seed)) for seed in range(12)]
    raw = raw_table([*good, good[0], good[1][:50], b"", png(drawing(5, 60)), png(drawing(2, 9))])
    facts = facts_of(raw)
    labels, _ = label.labels(raw, labellers=PATTERN)
    judge = Judge(DROP.ranges(), {}, unlabelled=True)
    verdicts, _ = select.verdicts(raw, facts, labels, outcome(raw), judge=judge, split=SPLIT, seed=7)
    forms, _ = render.forms(raw, kind_name="image", spec=SPEC)
    gathered, _ = gather.samples({"forms": "f"}, raw, forms, verdicts, kind_name="image", texts=["caption"])
    samples = lent(gathered, forms)
    copies, _ = augment.copies(samples, kind_name="image", seed=7, spec=AUGMENT)
    released = release.release_table(pa.concat_tables([samples, copies]), PARAMS)
    made = {"measure": (measure, rounded(facts)), "label": (label, labels), "select": (select, verdicts),
            "render": (render, forms), "gather": (gather, gathered), "augment": (augment, copies),
            "release": (release, released)}  # fmt: skip
    return {
        name: {"version": stage.VERSION, "digest": keys.digest(encode(table))} for name, (stage, table) in made.items()
    }


def outcome(raw: pa.Table) -> pa.Table:
    """What the rounds of select find: rows 0 and 12 have the same bytes, and the one with the smaller id stays."""
    ids = raw["id"].to_pylist()
    first, second = sorted((0, 12), key=lambda row: ids[row])
    same = {"cluster": ids[first], "rule": None, "value": None, "threshold": None}
    doubled = same | {"rule": "exact_duplicate", "value": ids[first], "threshold": "same bytes"}
    rows = [same | {"row": first}, doubled | {"row": second}]
    return pa.Table.from_pylist(rows, schema=decision._OUTCOME)


def rounded(facts: pa.Table) -> pa.Table:
    """Signals to six digits: the last bits are the processor's."""
    columns = [
        pa.array([None if v is None else float(f"{v:.6g}") for v in column.to_pylist()])
        if pa.types.is_floating(column.type)
        else column
        for column in facts.columns
    ]
    return pa.table(columns, names=facts.column_names)


@pytest.mark.parametrize("stage", ["measure", "render", "label", "select", "gather", "augment", "release"])
def test_a_stage_that_makes_something_else_has_another_version(stage):
    kept, now = json.loads(KEPT.read_text())[stage], outputs()[stage]
    assert now == kept, (
        f"{stage} makes other bytes: raise VERSION in dsray/stages/{stage}.py and run {Path(__file__).name}"
    )


if __name__ == "__main__":
    old = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    new = outputs()
    for name, entry in new.items():
        before = old.get(name)
        if before and before["digest"] != entry["digest"] and before["version"] == entry["version"]:
            raise SystemExit(f"{name} makes other bytes with the same VERSION: raise it first")
    KEPT.write_text(json.dumps(new, indent=1) + "\n")
