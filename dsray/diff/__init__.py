"""What is different between two versions: rows, labels, distributions, scores and recipe."""
