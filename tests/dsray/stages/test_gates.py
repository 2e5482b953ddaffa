"""gates: what a release asks of scores, and how it says no."""

import math

import pytest

from dsray import recipe as recipes
from dsray.errors import GateError, RecipeError
from dsray.evaluation import GATES, Gate, Limit
from dsray.stages.gates import check, gates, numbers, refused


def score(ratio: float = 0.95, excess: float = 0.01, share: float = 0.0, trusted: bool = True) -> dict:
    alarm = {"trusted": trusted, "alarm": False, "auc": 0.6, "tpr": 0.02}
    return {
        "usefulness": {"ratio": ratio},
        "distance": {"excess": excess},
        "copies": {"share": share, "trusted": trusted},
        "kid": {"kid": 0.1},
        "fid": {"fid": 12.0},
        "prdc": {"precision": 0.9, "recall": 0.8, "density": 1.0, "coverage": 0.7},
        "sliced": {"ratio": 1.5},
        "detection": {"auc": 0.7},
        "memorisation": {"c_t": {"c_t": -1.0, **alarm}, "authenticity": {"share": 0.5, **alarm},
                         "nearest": {"tail": {"share": 0.01}, **alarm}},
        "membership": {"gan_leaks": alarm, "density_ratio": alarm},
    }  # fmt: skip


def asked(text: str = "", dataset: str = "d"):
    head = f"dataset: {dataset}\ncollect: {{f: {{files: {{path: x}}}}}}\n"
    return recipes.parse(head + (f"evaluate: {text}\n" if text else "")).evaluate


def test_a_gate_may_be_set_for_every_number_and_for_nothing_else():
    from typing import get_args

    assert set(get_args(Gate)) == numbers(score()).keys()
    with pytest.raises(RecipeError, match=r"evaluate\.gates"):
        asked("{gates: {beauty: {min: 1}}}")


def test_usefulness_distance_and_copies_are_asked_unless_the_recipe_says_otherwise():
    assert asked().gates == GATES and set(GATES) == {"usefulness", "distance", "copies"}
    named = asked("{gates: {usefulness: {min: 0.5}, recall: {min: 0.2}}}").gates
    assert named == {**GATES, "usefulness": Limit(min=0.5), "recall": Limit(min=0.2)}
    none = asked("{gates: {usefulness: {}, distance: {}, copies: {}}}").gates
    assert gates({"gan": score(ratio=0.0)}, none) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"ratio": 0.8499}, "gan: usefulness is 0.850, the limit is min 0.85"),
        ({"excess": 0.3}, "gan: distance is 0.300, the limit is max 0.1"),
        ({"share": 0.05}, "gan: copies is 0.050, the limit is max 0.02"),
        ({"ratio": math.nan}, "gan: usefulness is nan, the limit is min 0.85"),
        ({"excess": math.nan}, "gan: distance is nan, the limit is max 0.1"),
        ({"trusted": False}, "gan: copies is 0.000, the limit is max 0.02, and its control missed planted copies"),
    ],
)
def test_a_release_is_refused_with_gate_number_and_limit(fault, said):
    found = gates({"vae": score(), "gan": score(**fault)}, GATES)
    assert [gate["gate"] for gate in found if not gate["passed"]] == [said.split()[1]]
    with pytest.raises(GateError) as refusal:
        check(found)
    assert str(refusal.value).startswith(f"The release is refused: {said}") and "--accept" in str(refusal.value)


def test_good_scores_pass_and_nothing_is_said():
    found = gates({"gan": score()}, GATES)
    check(found)
    assert len(found) == 3 and refused(found) == ""


@pytest.mark.parametrize("gate", ["c_t", "nearest", "gan_leaks", "density_ratio_tpr"])
def test_a_number_whose_control_failed_does_not_pass(gate):
    wanted = {gate: Limit(min=-9, max=9)}
    (good,), (bad,) = (gates({"gan": score(trusted=trusted)}, wanted) for trusted in (True, False))
    assert good["passed"] and not bad["passed"] and "unreliable" in bad["doubt"]


def test_what_was_not_measured_does_not_pass():
    without = {name: value for name, value in score().items() if name != "kid"}
    (found,) = gates({"gan": without}, {"kid": Limit(max=1)})
    assert not found["passed"] and "kid was not measured" in refused([found])


def test_a_gate_of_a_score_that_is_not_asked_for_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="the gate 'fid' needs the score fid, which is not among `scores`"):
        asked("{gates: {fid: {max: 20}}}")
    with pytest.raises(RecipeError, match="the gate 'recall' needs the score prdc"):
        asked("{scores: [kid], gates: {recall: {min: 0.2}}}")
    assert asked("{scores: [fid], gates: {fid: {max: 20}}}").gates["fid"] == Limit(max=20)
