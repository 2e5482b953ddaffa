"""What a site says about itself in files: robots.txt (RFC 9309), .well-known/tdmrep.json (W3C TDMRep), ai.txt."""

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from protego import Protego

ROBOTS, TDMREP, AI = "robots.txt", ".well-known/tdmrep.json", "ai.txt"

FRESH_S = 86400.0
"""How long a file is good for (RFC 9309, 2.4)."""

LONGEST = 512_000
"""Bytes of a file that are read (RFC 9309 asks for 500 KiB)."""

_SLOWEST_S = 60.0


@dataclass(frozen=True)
class SiteFile:
    """One file of a site, as it was had. No status: no answer, or none that may be believed; `error` says why."""

    origin: str  # scheme://host:port
    name: str
    asked: float
    status: int | None
    body: str = ""
    error: str = ""

    @property
    def url(self) -> str:
        return f"{self.origin}/{self.name}"

    @property
    def fresh(self) -> bool:
        return time.time() - self.asked < FRESH_S

    def written(self) -> dict[str, Any]:
        return asdict(self)


class Robots:
    """robots.txt: 4xx allows all; 5xx, or no answer, allows nothing for now."""

    def __init__(self, file: SiteFile, agent: str) -> None:
        self.agent = agent
        self.asked = file.asked
        self.silent = file.error
        self.unreadable = file.error or (f"status {file.status}" if (file.status or 500) >= 500 else "")
        self.rules = Protego.parse(file.body if file.status and file.status < 300 else "")
        self.sitemaps = list(self.rules.sitemaps)
        self.delay_s = min(float(self.rules.crawl_delay(agent) or 0), _SLOWEST_S)

    def allows(self, url: str) -> bool:
        return bool(self.rules.can_fetch(url, self.agent))


class OptOuts:
    """tdmrep.json and ai.txt. A file that is not there, or is none, says nothing."""

    def __init__(self, tdmrep: SiteFile, ai: SiteFile, agent: str) -> None:
        self.agent = agent
        self.files = tdmrep, ai
        self.reserved = list(_reservations(tdmrep.body)) if tdmrep.status == 200 else []
        listed = ai.status == 200 and "<html" not in ai.body[:1000].lower()
        self.rules = Protego.parse(_rooted(ai.body)) if listed else None

    def refusal(self, url: str) -> tuple[str, str, str] | None:
        """(signal, value, where) of what reserves a URL, or None."""
        tdmrep, ai = self.files
        path = "/" + url.split("/", 3)[3] if url.count("/") > 2 else "/"
        for location, pattern, reserved in self.reserved:
            if pattern.match(path):  # the first that matches decides
                if reserved:
                    return "tdmrep.json", location, tdmrep.url
                break
        if self.rules is not None and not self.rules.can_fetch(url, self.agent):
            return "ai.txt", "disallow", ai.url
        return None


def _reservations(body: str) -> Any:
    """(location, its pattern, reserved?) of each rule; `*` stands for anything, `$` for the end."""
    try:
        rules = json.loads(body)
    except ValueError:
        return
    for rule in rules if isinstance(rules, list) else []:
        location = rule.get("location") if isinstance(rule, dict) else None
        if isinstance(location, str) and "tdm-reservation" in rule:
            end = "$" if location.endswith("$") else ""
            parts = location.rstrip("$").split("*")
            pattern = re.compile(".*".join(re.escape(part) for part in parts) + end)
            yield location, pattern, str(rule["tdm-reservation"]).strip() == "1"


def _rooted(body: str) -> str:
    """ai.txt names file types as `*.jpg`, which for robots.txt has to begin at the root."""
    return re.sub(r"(?im)^(\s*(?:dis)?allow\s*:\s*)(\*)", r"\1/\2", body)
