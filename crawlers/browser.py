"""Pages that need JavaScript: the settings of a crawl that renders them in Chromium. What it needs is an extra."""

import importlib.util
import os
import shutil
from typing import Any

from dsray.errors import SourceError

INSTALL = "Install it: playwright install chromium; or name yours in DSRAY_CHROMIUM."

_ARGUMENTS = (
    "--disable-quic",  # and no other UDP: it would pass the proxy by
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-blink-features=WebTransport",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no name is looked up but by our proxy
    "--dns-prefetch-disable",
)

_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
"""What the browser may know of ours: no passwords, no keys."""

_NOWHERE = {"server": "http://127.0.0.1:9", "bypass": "<-loopback>"}
"""For what the browser asks on its own account. Pages get our proxy, with their context (middlewares/render.py)."""


def playwright() -> dict[str, Any]:
    """The settings that it needs. Raises SourceError when it is not installed."""
    if importlib.util.find_spec("scrapy_playwright") is None:
        raise SourceError(
            "Pages with `javascript: true` need a browser, and scrapy-playwright is not installed.",
            "Install both: pip install 'dsray[playwright]'; playwright install chromium.",
        )
    own = os.environ.get("DSRAY_CHROMIUM") or shutil.which("chromium")
    return {
        "DOWNLOADER_MIDDLEWARES": {"crawlers.middlewares.render.RenderMiddleware": 550},
        "PLAYWRIGHT_BROWSER_TYPE": "chromium",
        "PLAYWRIGHT_PROCESS_REQUEST_HEADERS": None,  # the browser's own; conditions are for the document alone
        "PLAYWRIGHT_LAUNCH_OPTIONS": {
            "headless": True,
            "args": list(_ARGUMENTS),
            "chromium_sandbox": os.geteuid() != 0,  # Chromium's does not work for root
            "env": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            "proxy": _NOWHERE,
            **({"executable_path": own} if own else {}),
        },
    }
