"""Instead of minutes of trials: scores that a release needs."""

from dsray.lake import shards

USEFULNESS = {"real": [0.9], "synthetic": [0.45], "both": [0.9], "n": 40, "extractor": "a network", "rows_real": 300,
              "rows_synthetic": 20, "mean": {"real": 0.9, "synthetic": 0.45, "both": 0.9}, "std": {"synthetic": 0.0},
              "ratio": 0.5, "per_class": {name: [0.5] * 4 for name in ("real", "synthetic", "both")}}  # fmt: skip
DISTANCE = {"distance": 2.0, "floor": 1.5, "ratio": 1.33, "excess": 0.01, "n": 40, "extractor": "a network"}
COPIES = {"share": 0.0, "threshold": 0.4, "n": 20, "held_out_share": 0.0, "control_planted": 5, "control_detected": 5,
          "trusted": True}  # fmt: skip
SCORES = {"usefulness": USEFULNESS, "distance": DISTANCE, "copies": COPIES}


def pictured(step, made, work):
    """Instead of minutes of trials: the scores that a release needs, and the sheet of training rows that they leave."""
    sheet = f"evaluations/{step.key}/nearest.png"
    row = next(row for one in made["gather"].shards for row in shards.read(work.store, one).to_pylist())
    work.store.create(sheet, row["media"]["bytes"])
    each = [0.5] * len(step.params["classes"])
    usefulness = USEFULNESS | {"per_class": dict.fromkeys(("real", "synthetic", "both"), each)}
    return step.manifest([], {}, {"scores": {"vae": SCORES | {"usefulness": usefulness}}, "seen": {}})
