"""Other ways in than the web: each source yields raw rows, piece by piece."""
