"""URLs as a crawl knows them: absolute, http or https, without fragment, in one spelling."""

from urllib.parse import urldefrag, urljoin, urlsplit

from w3lib.url import safe_url_string

LONGEST = 2048
"""Characters; longer ones are not asked for (no server has to take more, RFC 9110 §4.1 asks for 8,000 as a rule of thumb)."""

_PORTS = {"http": 80, "https": 443}

_NOT_PAGES = frozenset(
    "7z avi bmp bz2 css csv doc docx exe flac gif gz ico iso jpeg jpg js json m4a m4v mkv mov mp3 mp4 mpeg ogg pdf png "
    "ppt pptx rar rss svg tar tgz tif tiff wav webm webp woff woff2 xls xlsx xml xz zip zst".split()
)


def resolve(base: str, written: str) -> str | None:
    """The URL that `written` means on a page at `base`; None when it cannot be asked for."""
    try:
        url = safe_url_string(urldefrag(urljoin(base, written)).url)
        parts = urlsplit(url)
        fine = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    return url if fine and len(url) <= LONGEST else None


def host(url: str) -> str:
    """The host with its port, when that is not the scheme's own: what politeness and scope go by."""
    parts = urlsplit(url)
    own = parts.port in (None, _PORTS.get(parts.scheme))
    return str(parts.hostname) if own else f"{parts.hostname}:{parts.port}"


def may_be_page(url: str) -> bool:
    """False for what its name says is a file of another kind, and for what is no web page at all (mailto:, ...)."""
    last = urlsplit(url).path.rsplit("/", 1)[-1].lower()
    return "." not in last or last.rsplit(".", 1)[-1] not in _NOT_PAGES
