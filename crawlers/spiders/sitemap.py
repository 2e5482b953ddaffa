"""A sitemap (sitemaps.org), plain or gzip, or an index of sitemaps: its pages are links, its images only seen there."""

import zlib

from scrapy.http import Response
from scrapy.utils.sitemap import Sitemap

from crawlers.job import Job
from crawlers.spiders.read import SITEMAP, Link, Read

_GZIP = b"\x1f\x8b"


def read(response: Response, job: Job) -> Read:
    """The pages, or further sitemaps, that it names. Raises ValueError when it is no sitemap."""
    body = _unpacked(response.body, int(job.max_mb * 1e6))
    if response.url.endswith(".txt"):
        return Read(
            [], [Link(line.strip()) for line in body.decode("utf-8", "replace").splitlines() if line.strip()], []
        )
    sitemap = Sitemap(body)
    if sitemap.type not in ("urlset", "sitemapindex"):
        raise ValueError(f"<{sitemap.type}> is no sitemap")
    kind = SITEMAP if sitemap.type == "sitemapindex" else "page"
    return Read([], [Link(entry["loc"], kind) for entry in sitemap if entry.get("loc")], [])


def _unpacked(body: bytes, most: int) -> bytes:
    if body[:2] != _GZIP:
        return body
    unpacked = b""
    while body[:2] == _GZIP:
        member = zlib.decompressobj(wbits=31)
        try:
            unpacked += member.decompress(body, most + 1 - len(unpacked))
        except zlib.error as error:
            raise ValueError(f"damaged gzip: {error}") from error
        if len(unpacked) > most:
            raise ValueError(f"unpacks to more than {most} bytes")
        if not member.eof:
            raise ValueError("damaged gzip: it is cut off")
        body = member.unused_data
    return unpacked
