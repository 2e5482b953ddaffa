"""Scores → gates: each number that the recipe limits, whether it holds, and the refusal of a release that fails."""

from collections.abc import Mapping
from typing import Any, TypedDict

from dsray.errors import GateError
from dsray.evaluation import Limit

Scores = Mapping[str, Any]
"""What evaluate found of one model."""

UNRELIABLE = "its control missed planted copies or cried at new rows, so it is unreliable"


class Gate(TypedDict):
    model: str
    gate: str
    value: float | None  # None: it was not measured
    limit: str
    passed: bool
    doubt: str  # why the number says nothing, if it does


def gates(scores: Mapping[str, Scores], wanted: Mapping[Any, Limit]) -> list[Gate]:
    """Each gate of each model. What was not measured, is no number, or whose control failed, does not pass."""
    found = []
    for model, score in scores.items():
        values, doubted = numbers(score), doubtful(score)
        for gate, limit in wanted.items():
            if limit.words():
                value = values.get(gate)
                doubt = UNRELIABLE if gate in doubted else ""
                passed = value is not None and limit.holds(value) and not doubt
                found.append(Gate(model=model, gate=gate, value=value, limit=limit.words(), passed=passed, doubt=doubt))
    return found


def numbers(score: Scores) -> dict[str, float]:
    """Every number of a model that a gate may be set for, by the gate's name."""
    found = {name: score[name]["ratio"] for name in ("usefulness", "sliced") if name in score}
    found |= {"distance": score["distance"]["excess"], "copies": score["copies"]["share"]}
    found |= {name: score[name][name] for name in ("kid", "fid") if name in score}
    if "prdc" in score:
        found |= {name: score["prdc"][name] for name in ("precision", "recall", "density", "coverage")}
    if "detection" in score:
        found["detection"] = score["detection"]["auc"]
    if memorised := score.get("memorisation"):
        found |= {"c_t": memorised["c_t"]["c_t"], "authenticity": memorised["authenticity"]["share"]}
        found["nearest"] = memorised["nearest"]["tail"]["share"]
    for name, attack in score.get("membership", {}).items():
        found |= {name: attack["auc"], f"{name}_tpr": attack["tpr"]}
    return found


def doubtful(score: Scores) -> set[str]:
    """The numbers whose controls failed: there must be silence at new rows, an alarm at 5% and at 20% of copies."""
    found = set() if score["copies"]["trusted"] else {"copies"}
    found |= {name for name in ("c_t", "authenticity", "nearest") if not _trusted(score.get("memorisation", {}), name)}
    for name in score.get("membership", {}):
        found |= set() if _trusted(score["membership"], name) else {name, f"{name}_tpr"}
    return found


def _trusted(scores: Scores, name: str) -> bool:
    return name not in scores or bool(scores[name]["trusted"])


def check(gates: list[Gate]) -> None:
    """Raises GateError naming each gate that failed, its number and its limit."""
    if said := refused(gates):
        raise GateError(
            f"The release is refused: {said}.",
            "Train longer, take another preset, set `evaluate.gates`, leave the model out of `synthesize`, or release "
            'it all the same with --accept "why".',
        )


def refused(gates: list[Gate]) -> str:
    """The gates that failed, in words; empty where none did."""
    return "; ".join(map(told, (gate for gate in gates if not gate["passed"])))


def told(gate: Gate) -> str:
    """`gan: usefulness is 0.512, the limit is min 0.85`."""
    value = "was not measured" if gate["value"] is None else f"is {gate['value']:.3f}"
    doubt = f", and {gate['doubt']}" if gate.get("doubt") else ""
    return f"{gate['model']}: {gate['gate']} {value}, the limit is {gate['limit']}{doubt}"
