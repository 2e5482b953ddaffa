"""Arrays in, numbers out: what synthetic rows are worth, how far from real ones they are, and which are copies."""
