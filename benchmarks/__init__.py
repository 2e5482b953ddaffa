"""One file a figure; each holds dsray against a named baseline in the same run. `python -m benchmarks` runs all."""
