"""Why there is no payload: each failure of a download → one of `schema.FETCH_ERRORS`, with the evidence behind it."""

from typing import NamedTuple

from scrapy import Request
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadTimeoutError,
    IgnoreRequest,
    UnsupportedURLSchemeError,
)


class Reason(NamedTuple):
    """A fetch error and what was seen: which signal, its value, and where (a URL or an address)."""

    error: str
    signal: str
    value: str
    where: str

    @property
    def evidence(self) -> dict[str, str]:
        return {"signal": self.signal, "value": self.value, "where": self.where}


class Refused(IgnoreRequest):
    """A middleware's decision not to fetch, or not to go on. `passing`: it may be another one tomorrow."""

    def __init__(self, reason: Reason, passing: bool = False) -> None:
        super().__init__(f"{reason.error}: {reason.signal} {reason.value}")
        self.reason = reason
        self.passing = passing


class Elsewhere(IgnoreRequest):
    """A redirect leads to a domain that another partition keeps."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Paused(IgnoreRequest):
    """The host asked not to be asked before `until`, in seconds since 1970."""

    def __init__(self, until: float) -> None:
        super().__init__(str(until))
        self.until = until


PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others tomorrow."""

_PASSING = ("timeout", "unreachable")


def passes(reason: Reason, failure: BaseException | None = None, status: int | None = None) -> bool:
    """May the same request succeed later?"""
    if isinstance(failure, Refused):
        return failure.passing
    return reason.error in _PASSING or (reason.error == "http_status" and status in PASSING_STATUS)


REASON = "dsray_reason"
"""Request.meta key: the reason behind a download that a signal handler stopped."""


def reason_of(failure: BaseException, request: Request) -> Reason:
    """What a failed download means. Whatever Scrapy and Twisted may raise gets an answer."""
    if isinstance(failure, Refused):
        return failure.reason
    stopped: Reason | None = request.meta.get(REASON)
    if stopped:
        return stopped
    name, text = type(failure).__name__, str(failure)[:200]
    if isinstance(failure, DownloadCancelledError):
        return Reason("too_large", "size", text, request.url)
    if isinstance(failure, DownloadTimeoutError):
        return Reason("timeout", "timeout", text, request.url)
    if isinstance(failure, CannotResolveHostError):
        return Reason("unreachable", "dns", text, request.url)
    if isinstance(failure, UnsupportedURLSchemeError | ValueError | TypeError | AttributeError):
        return Reason("invalid", name, text, request.url)
    return Reason("unreachable", name, text, request.url)
