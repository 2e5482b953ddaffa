"""URLs as a crawl knows them: absolute, http or https, without fragment, in one spelling."""

from urllib.parse import urldefrag, urljoin, urlsplit

from w3lib.url import safe_url_string

LONGEST = 2048
"""Characters; longer ones are traps more often than pages, and not asked for."""

_PORTS = {"http": 80, "https": 443}

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


def may_be_page(url: str) -> bool:
    """False for what its name says is a file of another kind."""
    return not urlsplit(url).path.lower().endswith(_NOT_PAGES)
