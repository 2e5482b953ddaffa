"""An HTML page: an item wherever the recipe's selectors match, and its links."""

from scrapy.http import TextResponse

from crawlers import extract
from crawlers.job import Job
from crawlers.spiders.read import Link, Read


def read(response: TextResponse, job: Job) -> Read:
    """The page's items, links, directives and licence."""
    root = response.selector.root
    items = list(extract.items(root, job.media, job.texts)) if job.item else []
    links = [Link(url) for url in extract.links(root, job.follow)]
    return Read(items, links, list(extract.robots(root, job.product)), extract.licence(root))
