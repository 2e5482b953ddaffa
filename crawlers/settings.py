"""Scrapy's settings: polite and safe from the start, and only the parts that a crawl uses."""

import importlib.util
import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from crawlers.browser import playwright
from crawlers.job import Job

HANDLER = "crawlers.download.Downloader"

BASE: dict[str, Any] = {
    "BOT_NAME": "dsray",
    "SPIDER_MODULES": ["crawlers.spiders"],
    "SCHEDULER": "crawlers.frontier.Frontier",
    "STATS_CLASS": "scrapy.statscollectors.DummyStatsCollector",
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "CONCURRENT_ITEMS": 1,  # the spider hands its outcomes to the pipeline itself: Scrapy starts a task for each
    "ROBOTSTXT_OBEY": False,  # ours does, with evidence, for tdmrep.json and ai.txt too
    # No cookies, no proxies from the environment (the address guard cannot see behind one), no passwords, no cache.
    "DOWNLOADER_MIDDLEWARES_BASE": {
        "crawlers.middlewares.sites.SitesMiddleware": 100,
        "crawlers.middlewares.address.AddressMiddleware": 560,
        "crawlers.middlewares.encoding.EncodingMiddleware": 590,
        "crawlers.middlewares.redirects.RedirectMiddleware": 600,
        "crawlers.middlewares.consent.ConsentMiddleware": 700,
        "crawlers.middlewares.pauses.PausesMiddleware": 800,
    },
    "SPIDER_MIDDLEWARES_BASE": {},
    "EXTENSIONS_BASE": {"scrapy.extensions.throttle.AutoThrottle": 0},
    "DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER, "data": None, "file": None, "ftp": None, "s3": None},
    "DOWNLOAD_WARNSIZE": 0,
    "DOWNLOAD_DELAY_JITTER": 0.5,
    "REDIRECT_MAX_TIMES": 5,
    "AUTOTHROTTLE_START_DELAY": 0.5,
    "AUTOTHROTTLE_MAX_DELAY": 30,
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "COOKIES_ENABLED": False,
    "LOG_LEVEL": "ERROR",
    "WARN_ON_GENERATOR_RETURN_VALUE": False,
}

MOST_AT_ONCE = 2000
"""Requests at once to all hosts together, most of them waiting for their host's turn."""


def settings(job: Job, hosts: Iterable[str]) -> dict[str, Any]:
    """The settings of one crawl. A host slows down when it answers slowly, but for the machine that we run on."""
    names = set(hosts)
    mine = job.allow_private and all(is_loopback(name) for name in names)
    uvloop = {"ASYNCIO_EVENT_LOOP": "uvloop.Loop"} if importlib.util.find_spec("uvloop") else {}
    return {
        **BASE,
        **uvloop,
        **(playwright() if job.javascript else {}),
        "USER_AGENT": job.agent,
        "CONCURRENT_REQUESTS_PER_DOMAIN": job.concurrency,
        "CONCURRENT_REQUESTS": min(job.concurrency * (len(names) + 1), MOST_AT_ONCE),
        "DOWNLOAD_DELAY": job.delay_s,
        "AUTOTHROTTLE_ENABLED": not mine,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": job.concurrency / 2,
        "DOWNLOAD_MAXSIZE": int(job.max_mb * 1e6),
        "ALLOW_PRIVATE": job.allow_private,
        "RESPECT_OPT_OUT": job.respect_opt_out,
    }


def is_loopback(name: str) -> bool:
    """Does a host name this machine, as localhost or as a loopback address?"""
    name = urlsplit(f"//{name}").hostname or ""
    try:
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
