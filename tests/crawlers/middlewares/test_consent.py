"""Which headers say no."""

import pytest
from scrapy.http import Headers

from crawlers.middlewares.consent import opt_out


@pytest.mark.parametrize(
    "value",
    [
        "noai",
        "NOIMAGEAI",
        "noindex",
        "none",
        "max-snippet: 0, noai",
        "dsray: noai",
        "*: noindex",
        "other: all, dsray: noai",
        "unavailable_after: 25 Jun 2010 15:00:00 PST, noai",
        " nofollow ,noimageai",
    ],
)
def test_these_say_no_to_us(value):
    assert opt_out(Headers({"X-Robots-Tag": value}), "dsray") == ("x-robots-tag", value)


@pytest.mark.parametrize("value", ["nofollow", "all", "other: noai, noindex", "max-image-preview: none", "noaim", ""])
def test_these_do_not(value):
    assert opt_out(Headers({"X-Robots-Tag": value}), "dsray") is None


def test_a_second_header_counts_and_a_reservation_is_1():
    assert opt_out(Headers({"X-Robots-Tag": ["all", "noai"]}), "dsray")
    assert opt_out(Headers({"TDM-Reservation": "1"}), "dsray") == ("tdm-reservation", "1")
    assert opt_out(Headers({"TDM-Reservation": "0"}), "dsray") is None
