"""Arrays in, numbers out: what synthetic rows are worth, how far they are from real ones, and whether they are copies."""
