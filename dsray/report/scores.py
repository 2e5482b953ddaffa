"""The scores of a model in words: each number next to what real rows get, with n and what it was measured with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Scores = Mapping[str, Any]
"""What evaluate found of one model (dsray.metrics)."""


@dataclass(frozen=True)
class Line:
    """One number. `gate` names it in a recipe."""

    gate: str
    name: str
    value: str
    reference: str
    measured: str
    meaning: str


def lines(score: Scores) -> list[Line]:
    """All that was measured, in the order in which it is read."""
    found = [_usefulness(score["usefulness"]), _distance(score["distance"]), _copies(score["copies"])]
    for name, words in _WORDS.items():
        if name in score:
            found += words(score[name])
    return found


def summary(score: Scores) -> list[tuple[str, str, str]]:
    """(name, value, note): the scores as short as a screen wants them; what has an alarm is named."""
    by_gate = {line.gate: line for line in lines(score)}
    found = [
        (line.name, line.value, line.reference)
        for line in map(by_gate.get, ("usefulness", "distance", "copies"))
        if line
    ]
    names = ("kid", "precision", "recall", "density", "coverage", "sliced", "detection", "fid")
    shown = [f"{by_gate[gate].name} {by_gate[gate].value}" for gate in names if gate in by_gate]
    found += [("also", "", ", ".join(shown))] if shown else []
    if alarms := _alarms(score):
        loud = [name for name, one in alarms.items() if one["alarm"]]
        deaf = [name for name, one in alarms.items() if not one["trusted"]]
        note = f"of {len(alarms)} memorisation and membership scores" + (f": {', '.join(loud)}" if loud else "")
        note += f"; too few rows for {', '.join(deaf)}" if deaf else ""
        found.append(("alarms", str(len(loud)), note))
    return found


def _alarms(score: Scores) -> dict[str, Any]:
    memorised = score.get("memorisation", {})
    attacks = score.get("membership", {})
    return {name: memorised[name] for name in ("c_t", "authenticity", "nearest") if name in memorised} | dict(attacks)


def _usefulness(use: Scores) -> Line:
    mean = use["mean"]
    spread = f" ± {use['std']['synthetic']:.3f}" if len(use["synthetic"]) > 1 else ""
    return Line(
        "usefulness", "usefulness", f"{use['ratio']:.3f}",
        f"accuracy: synthetic {mean['synthetic']:.3f}{spread}, real {mean['real']:.3f}, both {mean['both']:.3f}",
        f"n = {use['n']:,}, {use['extractor']}, {len(use['real'])} seeds",
        f"Accuracy on held-out real rows after training on {use['rows_synthetic']:,} synthetic rows, over that after "
        f"training on {use['rows_real']:,} real ones.",
    )  # fmt: skip


def _distance(distance: Scores) -> Line:
    return Line(
        "distance", "distance", _signed(distance["excess"]),
        f"Fréchet distance {distance['distance']:.2f}, real against real {distance['floor']:.2f}",
        f"n = {distance['n']:,}, {distance['extractor']}",
        "By how much the Fréchet distance to held-out real rows exceeds that of other real rows, over the variance of "
        "real rows; in features of small networks that learned from real rows, so it is not FID.",
    )  # fmt: skip


def _copies(copies: Scores) -> Line:
    found = f"control: {copies['control_detected']} of {copies['control_planted']} planted copies found"
    return Line(
        "copies", "copies", f"{copies['share']:.2%}", f"{found}; held-out real rows {copies['held_out_share']:.2%}",
        f"n = {copies['n']:,}, pixels", "Share of rows that lie much nearer to one training row than to the next.",
    )  # fmt: skip


def _kid(kid: Scores) -> Iterator[Line]:
    yield Line(
        "kid", "KID", f"{_signed(kid['kid'])} ± {kid['std']:.3f}",
        f"real against real {_signed(kid['floor'])} ± {kid['floor_std']:.3f}",
        f"n = {kid['n']:,}, {kid['subsets']} subsets of {kid['subset_size']:,}, {kid['extractor']}",
        "Kernel distance without bias in n; a good model is as near as other real rows are.",
    )  # fmt: skip


def _prdc(prdc: Scores) -> Iterator[Line]:
    measured = f"n = {prdc['n']:,}, k = {prdc['k']}, {prdc['extractor']}"
    meanings = {
        "precision": "Share of synthetic rows that lie among real ones.",
        "recall": "Share of real rows that lie among synthetic ones.",
        "density": "How many real rows' neighbourhoods a synthetic row lies in; more than 1 is crowded.",
        "coverage": "Share of real rows whose neighbourhood has a synthetic row in it.",
    }
    for name, meaning in meanings.items():
        yield Line(name, name, f"{prdc[name]:.3f}", f"other real rows {prdc['floor'][name]:.3f}", measured, meaning)


def _sliced(sliced: Scores) -> Iterator[Line]:
    yield Line(
        "sliced", "sliced W₂", f"{sliced['distance']:.2f}",
        f"real against real {sliced['floor']:.2f}, ratio {sliced['ratio']:.2f}",
        f"n = {sliced['n']:,}, {sliced['directions']} directions, {sliced['extractor']}",
        "Wasserstein distance along random directions of the same features: it sees more than two moments.",
    )  # fmt: skip


def _detection(detection: Scores) -> Iterator[Line]:
    yield Line(
        "detection", "detection AUC", f"{detection['auc']:.3f}",
        f"real against real {detection['floor_auc']:.3f}; accuracy {detection['accuracy']:.3f}, by chance "
        f"0.500 ± {detection['error']:.3f}",
        f"n = {detection['n']:,}, {detection['extractor']}",
        "How well a classifier that is told which rows are real tells the others; 0.5 when it can't.",
    )  # fmt: skip


def _fid(fid: Scores) -> Iterator[Line]:
    yield Line(
        "fid", "FID", f"{fid['fid']:.2f}", f"real against real {fid['floor']:.2f}",
        f"n = {fid['n']:,}, {fid['extractor']}, {fid['resizer']}",
        "Fréchet Inception distance; with fewer than 50,000 rows larger than published ones.",
    )  # fmt: skip


def _memorisation(found: Scores) -> Iterator[Line]:
    measured = f"n = {found['n']:,}, {found['train']:,} training and {found['held_out']:,} held-out rows, pixels"
    c_t, authentic, near = found["c_t"], found["authenticity"], found["nearest"]
    yield Line(
        "c_t", "C_T", f"{c_t['c_t']:.2f}".replace("-", "−"), _alarm(c_t, "usual is 0, copying below −3"), measured,
        "z of the distances to the nearest training row, against those of held-out rows.",
    )  # fmt: skip
    yield Line(
        "authenticity", "authenticity", f"{authentic['share']:.3f}",
        _alarm(authentic, f"held-out real rows {authentic['held_out']:.3f}"), measured,
        "Share of rows that are farther from their nearest training row than that is from its own nearest.",
    )  # fmt: skip
    yield Line(
        "nearest", "nearest ratios", f"{near['tail']['share']:.2%}",
        _alarm(near, f"held-out real rows 1%; median d₁/d₂ {near['median']:.3f} against {near['held_out']:.3f}"),
        measured, "Share of rows so near to one training row, and not to the next, as 1% of held-out rows are.",
    )  # fmt: skip


def _membership(attacks: Scores) -> Iterator[Line]:
    meanings = {
        "gan_leaks": "Attack by distance to the nearest synthetic row, calibrated (GAN-Leaks).",
        "density_ratio": "Attack by the density of synthetic rows over that of real ones (DOMIAS).",
    }
    for name, attack in attacks.items():
        measured = f"{attack['members']:,} members, {attack['others']:,} other rows, pixels"
        title = name.replace("_", "-")
        yield Line(
            name, f"{title} AUC", f"{attack['auc']:.3f} ± {attack['auc_error']:.3f}", _alarm(attack, "by chance 0.500"),
            measured, f"{meanings.get(name, 'Attack')} How well it tells training rows from others.",
        )  # fmt: skip
        yield Line(
            f"{name}_tpr", f"{title} TPR", f"{attack['tpr']:.2%} ± {attack['tpr_error']:.2%}",
            "at 1% false positives; by chance 1%", measured, "Training rows that are recognised for sure.",
        )  # fmt: skip


def _alarm(score: Scores, usual: str) -> str:
    """Whether it cried, what is usual, and what its controls say of it."""
    cried = "alarm" if score["alarm"] else "no alarm"
    if score["trusted"]:
        return f"{cried}, {usual}; planted copies are found"
    controls = sorted(score["controls"], key=lambda control: control["planted"])
    wrong = [f"{c['planted']:.0%} of copies missed" if c["planted"] else "cries at new rows"
             for c in controls if c["alarm"] != (c["planted"] > 0)]  # fmt: skip
    return f"{cried}, {usual}; unreliable with so few rows: {', '.join(wrong)}"


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


_WORDS = {
    "fid": _fid, "kid": _kid, "prdc": _prdc, "sliced": _sliced, "detection": _detection,
    "memorisation": _memorisation, "membership": _membership,
}  # fmt: skip
