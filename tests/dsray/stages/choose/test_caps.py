"""caps: as many rows of a class, host or source stay as may, and rows that are added displace few."""

from collections import Counter

import pandas as pd
import pytest

from deciding import by_rule, verdicts
from dsray import rng
from lakes import rows

ALONE = {"duplicates": {"exact": False}}


@pytest.mark.parametrize("sizes", [[400], [3, 200, 1, 999]])
def test_caps_are_those_of_pandas(store, sizes):
    made = rows(400, label=[str(n % 5) if n % 5 else None for n in range(400)])
    table = verdicts(store, made, {"drop": {"unlabelled": False}, "cap": {"label": 30, "host": 45}, **ALONE}, sizes)
    frame = pd.DataFrame(made).assign(host=[f"host{n % 7}.org" for n in range(400)])
    frame["number"] = rng.bits(7, "cap", rng.keys_of(list(frame.id)))[:, 0]
    by_host = frame.sort_values("number").groupby("host").head(45)
    kept = by_host.groupby("label", dropna=True).head(30).index.union(by_host.index[by_host.label.isna()])
    found = by_rule(table)
    assert found[""] == sorted(kept) and found["cap_host"] == sorted(set(frame.index) - set(by_host.index))
    assert table["value"][found["cap_label"][0]].as_py().startswith("class ")
    assert set(table["threshold"].drop_null().to_pylist()) == {"at most 45", "at most 30"}


def test_rows_that_are_added_displace_at_most_as_many(store):
    made = rows(600)
    before, after = (verdicts(store, made[:n], {"cap": {"source": 200}, **ALONE}) for n in (580, 600))
    gone = set(by_rule(before)[""]) - set(by_rule(after)[""])
    assert len(gone) <= 20 and len(by_rule(after)[""]) == 200


def test_classes_are_at_most_so_many_times_the_smallest(store):
    made = rows(300, label=["a" if n < 20 else "b" if n < 60 else "c" for n in range(300)])
    table = verdicts(store, made, {"balance": {"ratio": 3}, **ALONE}, [100, 150, 50])
    assert Counter(made[n]["label"] for n in by_rule(table)[""]) == {"a": 20, "b": 40, "c": 60}
    assert len(by_rule(table)["balance"]) == 180


def test_weights_are_powers_of_the_class_sizes_and_one_on_average(store):
    made = rows(300, label=["a" if n < 40 else "b" for n in range(300)])
    table = verdicts(store, made, {"weights": {"power": 0.5}, **ALONE}, [100, 150, 50])
    frame = pd.DataFrame({"split": table["split"], "label": table["label"], "weight": table["weight"]})
    train = frame[frame.split == "train"]
    assert train.weight.mean() == pytest.approx(1) and frame[frame.split != "train"].weight.isna().all()
    mean, size = train.groupby("label").weight.mean(), train.groupby("label").size()
    assert mean["a"] / mean["b"] == pytest.approx((size["a"] / size["b"]) ** -0.5)
