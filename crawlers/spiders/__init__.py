"""How pages are read: one file a kind of page, each with `read(response, job) -> Read`."""
