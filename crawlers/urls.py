"""URLs as a crawl knows them: absolute, http or https, without fragment, in one spelling."""

from functools import lru_cache
from hashlib import blake2b
from urllib.parse import urldefrag, urljoin, urlsplit

from tldextract import TLDExtract
from w3lib.url import safe_url_string

LONGEST = 2048
"""Characters; longer ones are traps more often than pages, and not asked for."""

_PORTS = {"http": 80, "https": 443}

_TRACKING = frozenset({"fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "yclid", "phpsessid",
                       "jsessionid", "sessionid", "sid"})  # fmt: skip
"""Query parameters that say who came from where, not what is asked; and all that begin with `utm_`."""

_suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list that the package brings: nothing is fetched

_NOT_PAGES = (
    ".7z", ".avi", ".bmp", ".bz2", ".css", ".csv", ".doc", ".docx", ".exe", ".flac", ".gif", ".gz", ".ico", ".iso",
    ".jpeg", ".jpg", ".js", ".json", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".ogg", ".pdf", ".png",
    ".ppt", ".pptx", ".rar", ".rss", ".svg", ".tar", ".tgz", ".tif", ".tiff", ".wav", ".webm", ".webp", ".woff",
    ".woff2", ".xls", ".xlsx", ".xml", ".xz", ".zip", ".zst",
)  # fmt: skip


def resolve(base: str, written: str) -> str | None:
    """The URL that `written` means on a page at `base`; None when it cannot be asked for."""
    try:
        url = safe_url_string(urldefrag(urljoin(base, written)).url)
        url = urljoin(url, url)  # a second time, without the blanks that were around: now it is settled
        parts = urlsplit(url)
        fine = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    if not fine or len(url) > LONGEST:
        return None
    return url if parts.path else parts._replace(path="/").geturl()


def spelt(written: str) -> str:
    """How a URL that cannot be asked stands in a row: as written, cut, and never to be taken for one that can."""
    return "invalid:" + written[:LONGEST] if written.startswith(("http:", "https:")) else written[:LONGEST]


def host(url: str) -> str:
    """The host with its port, when that is not the scheme's own: what politeness and scope go by."""
    parts = urlsplit(url)
    own = parts.port in (None, _PORTS.get(parts.scheme))
    return str(parts.hostname) if own else f"{parts.hostname}:{parts.port}"


def host_or_none(url: str) -> str:
    """The host of a URL that may be none at all: then nothing."""
    return host(url) if url.startswith(("http://", "https://")) else ""


@lru_cache(maxsize=65536)
def domain(host: str) -> str:
    """The registered domain of a host (`b.co.uk` of `x.b.co.uk:80`), or the host itself: an address, an unknown suffix.

    A domain belongs to one partition of a crawl, so that politeness has one keeper.
    """
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    found = _suffixes(name)
    if found.suffix and found.domain:
        return f"{found.domain}.{found.suffix}"
    return ".".join(name.split(".")[-2:]) if not found.suffix and name.endswith(".localhost") else name


def canonical(url: str) -> str:
    """What is the same for all spellings of a resolved URL: no default port, query sorted and without tracking."""
    head, mark, query = url.partition("?")
    if head.count(":") > 1:
        parts = urlsplit(head)
        if parts.port == _PORTS.get(parts.scheme):
            head = f"{parts.scheme}://{parts.hostname}{parts.path}"
    if not mark:
        return head
    told = sorted(one for one in query.split("&") if one and not _tracks(one))
    return f"{head}?{'&'.join(told)}" if told else head


def key(kind: str, url: str) -> int:
    """64 bits that stand for a URL, in any of its spellings, asked for as a page or as an item."""
    return int.from_bytes(blake2b(f"{kind} {canonical(url)}".encode(), digest_size=8).digest(), "little")


def _tracks(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return name in _TRACKING or name.startswith("utm_")


def may_be_page(url: str) -> bool:
    """False for what its name says is a file of another kind."""
    return not urlsplit(url).path.lower().endswith(_NOT_PAGES)
