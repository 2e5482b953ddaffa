"""Where each request and response passes: robots, addresses, redirects, encodings, consent."""
