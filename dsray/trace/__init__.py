"""Where a row comes from, what became of it, and whether it can be made again."""
