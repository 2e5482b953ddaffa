"""Pages that need JavaScript: rendered by a browser through scrapy-playwright, an extra."""

import importlib.util
import ipaddress
import os
import shutil
import socket
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from crawlers.job import Job
from dsray.errors import SourceError


def playwright(job: Job) -> dict[str, Any]:
    """The settings that it needs. Raises SourceError when it is not installed."""
    if importlib.util.find_spec("scrapy_playwright") is None:
        raise SourceError(
            "Pages with `javascript: true` need a browser, and scrapy-playwright is not installed.",
            "Install both: pip install 'dsray[playwright]'; playwright install chromium.",
        )
    own = os.environ.get("DSRAY_CHROMIUM") or shutil.which("chromium")
    handler = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
    return {
        "DOWNLOAD_HANDLERS": {"http": handler, "https": handler, "data": None, "file": None, "ftp": None, "s3": None},
        "PLAYWRIGHT_BROWSER_TYPE": "chromium",
        "PLAYWRIGHT_LAUNCH_OPTIONS": {"headless": True, **({"executable_path": own} if own else {})},
        "PLAYWRIGHT_DEFAULT_NAVIGATION_TIMEOUT": job.timeout_s * 1000,
        "PLAYWRIGHT_ABORT_REQUEST": Guard(job.allow_private),
        "PLAYWRIGHT_MAX_PAGES_PER_CONTEXT": 8,
    }


class Guard:
    """Stops what a page's scripts ask of addresses that a crawl may not ask, and all but documents, scripts and data.

    The browser resolves names by itself, so a name that changes its answer between our look and its own is not seen:
    on a network with secrets, give the browser an egress proxy (docs/security.md).
    """

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private

    def __call__(self, request: Any) -> bool:
        """True stops the request."""
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https") or request.resource_type in ("image", "media", "font"):
            return True
        return any(self._forbidden(address) for address in _addresses(parts.hostname or ""))

    def _forbidden(self, address: str) -> bool:
        from crawlers.middlewares.address import forbidden

        return forbidden(address, self.allow_private)


@lru_cache(maxsize=1024)
def _addresses(name: str) -> tuple[str, ...]:
    if name.endswith(".localhost"):
        return ("127.0.0.1",)
    try:
        return (str(ipaddress.ip_address(name.strip("[]"))),)
    except ValueError:
        pass
    try:
        return tuple({str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(name, None)})
    except OSError:
        return ()
