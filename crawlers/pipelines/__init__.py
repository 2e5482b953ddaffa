"""What becomes of outcomes: rows, in segments."""
