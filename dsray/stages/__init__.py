"""The life of a dataset, one file a stage: VERSION, `step` (what would be made, and its key) and `run` (make it)."""
