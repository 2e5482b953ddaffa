"""Scrapy's settings: polite and safe from the start, and only the parts that a crawl uses."""

import importlib.util
import ipaddress
from typing import Any
from urllib.parse import urlsplit

from crawlers.job import Job
from crawlers.urls import host

BASE: dict[str, Any] = {
    "BOT_NAME": "dsray",
    "SPIDER_MODULES": ["crawlers.spiders"],
    "SCHEDULER": "crawlers.frontier.Frontier",
    "STATS_CLASS": "scrapy.statscollectors.DummyStatsCollector",
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "TWISTED_DNS_RESOLVER": "crawlers.middlewares.address.GuardedResolver",
    "DNS_TIMEOUT": 20,
    "CONCURRENT_ITEMS": 1,  # Scrapy starts that many tasks for every response; ours has few items, and they don't wait
    "ITEM_PIPELINES": {"crawlers.pipelines.segments.SegmentPipeline": 100},
    "ROBOTSTXT_OBEY": True,
    # No cookies, no proxies from the environment (the address guard cannot see behind one), no passwords, no cache.
    "DOWNLOADER_MIDDLEWARES_BASE": {
        "crawlers.middlewares.robots.RobotsMiddleware": 100,
        "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": 500,
        "scrapy.downloadermiddlewares.retry.RetryMiddleware": 550,
        "crawlers.middlewares.address.AddressMiddleware": 560,
        "crawlers.middlewares.encoding.EncodingMiddleware": 590,
        "crawlers.middlewares.redirects.RedirectMiddleware": 600,
        "crawlers.middlewares.consent.ConsentMiddleware": 700,
    },
    "SPIDER_MIDDLEWARES_BASE": {},
    "EXTENSIONS_BASE": {"scrapy.extensions.throttle.AutoThrottle": 0},
    "DOWNLOAD_HANDLERS": {"data": None, "file": None, "ftp": None, "s3": None},
    "DOWNLOAD_VERIFY_CERTIFICATES": True,
    "DOWNLOAD_TIMEOUT": 60,
    "DOWNLOAD_WARNSIZE": 0,
    "DOWNLOAD_DELAY_JITTER": 0.5,
    "REDIRECT_MAX_TIMES": 5,
    "RETRY_TIMES": 2,
    "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",
    "AUTOTHROTTLE_START_DELAY": 0.5,
    "AUTOTHROTTLE_MAX_DELAY": 30,
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "COOKIES_ENABLED": False,
    "LOG_LEVEL": "ERROR",
    "WARN_ON_GENERATOR_RETURN_VALUE": False,
}

MOST_AT_ONCE = 64
"""Requests at once to all hosts together."""


def settings(job: Job) -> dict[str, Any]:
    """The settings of one crawl. A host slows down when it answers slowly, but for the machine that we run on."""
    hosts = {host(url) for url in job.start}
    mine = job.allow_private and all(is_loopback(url) for url in job.start)
    uvloop = {"ASYNCIO_EVENT_LOOP": "uvloop.Loop"} if importlib.util.find_spec("uvloop") else {}
    return {
        **BASE,
        **uvloop,
        "USER_AGENT": job.agent,
        "ROBOTSTXT_USER_AGENT": job.product,
        "CONCURRENT_REQUESTS_PER_DOMAIN": job.concurrency,
        "CONCURRENT_REQUESTS": min(job.concurrency * (len(hosts) + 1), max(MOST_AT_ONCE, job.concurrency)),
        "AUTOTHROTTLE_ENABLED": not mine,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": job.concurrency / 2,
        "DOWNLOAD_MAXSIZE": int(job.max_mb * 1e6),
        "ALLOW_PRIVATE": job.allow_private,
        "RESPECT_OPT_OUT": job.respect_opt_out,
    }


def is_loopback(url: str) -> bool:
    """Does the URL name this machine, as localhost or as a loopback address?"""
    name = urlsplit(url).hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
