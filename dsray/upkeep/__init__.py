"""Keeping a lake in order: what nothing needs is taken away, what is damaged is found and made again."""
