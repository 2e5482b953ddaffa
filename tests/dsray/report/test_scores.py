"""scores: each number beside what real rows get, with n and what it was measured with."""

from dsray.report.scores import lines, summary

CONTROLS = [{"planted": 0.0, "alarm": False}, {"planted": 0.05, "alarm": False}, {"planted": 0.2, "alarm": True}]


def attack(alarm: bool, trusted: bool) -> dict:
    return {"auc": 0.61, "auc_error": 0.01, "tpr": 0.05, "tpr_error": 0.004, "members": 900, "others": 100,
            "alarm": alarm, "trusted": trusted, "controls": CONTROLS}  # fmt: skip


SCORE = {
    "usefulness": {"ratio": 0.97, "real": [0.9, 0.92], "synthetic": [0.88, 0.9], "both": [0.92, 0.92], "n": 487,
                   "mean": {"real": 0.91, "synthetic": 0.89, "both": 0.92}, "std": {"synthetic": 0.01},
                   "extractor": "a classifier", "rows_real": 3892, "rows_synthetic": 2000},
    "distance": {"distance": 1.83, "floor": 1.45, "ratio": 1.26, "excess": 0.006, "n": 486, "extractor": "a network"},
    "copies": {"share": 0.001, "n": 2000, "held_out_share": 0.0041, "control_planted": 100, "control_detected": 99},
    "fid": {"fid": 30.5, "floor": 4.25, "n": 480, "extractor": "Inception", "resizer": "pil-bicubic"},
    "membership": {"gan_leaks": attack(True, False), "density_ratio": attack(False, True)},
}  # fmt: skip


def test_a_line_says_value_floor_n_extractor_and_resizer():
    by_gate = {line.gate: line for line in lines(SCORE)}
    assert by_gate["distance"].value == "0.006"
    assert by_gate["distance"].reference == "Fréchet distance 1.83, real against real 1.45"
    assert by_gate["distance"].measured == "n = 486, a network"
    assert by_gate["fid"].measured == "n = 480, Inception, pil-bicubic" and "4.25" in by_gate["fid"].reference
    assert by_gate["usefulness"].reference == "accuracy: synthetic 0.890 ± 0.010, real 0.910, both 0.920"
    assert "99 of 100 planted copies found" in by_gate["copies"].reference


def test_a_control_that_failed_is_said():
    by_gate = {line.gate: line for line in lines(SCORE)}
    assert by_gate["gan_leaks"].reference == (
        "alarm, by chance 0.500; unreliable with so few rows: 5% of copies missed"
    )
    assert "unreliable" not in by_gate["density_ratio"].reference
    assert by_gate["gan_leaks_tpr"].value == "5.00% ± 0.40%"


def test_the_screen_gets_a_few_lines_with_what_was_measured_only():
    names = [name for name, *_ in summary(SCORE)]
    assert names == ["usefulness", "distance", "copies", "also", "alarms"]
    told = {name: (value, note) for name, value, note in summary(SCORE)}
    assert told["also"] == ("", "FID 30.50")
    assert told["alarms"] == (
        "1", "of 2 memorisation and membership scores: gan_leaks; too few rows for gan_leaks"
    )  # fmt: skip
    few = {name: SCORE[name] for name in ("usefulness", "distance", "copies")}
    assert [name for name, *_ in summary(few)] == ["usefulness", "distance", "copies"]
