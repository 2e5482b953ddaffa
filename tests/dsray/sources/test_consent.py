"""dsray.sources.consent: the same headers opt out of an archive as of a crawl."""

import pytest
from scrapy.http import Headers

from crawlers.middlewares.consent import opt_out as crawl_opt_out
from dsray.sources.consent import obeyed, opt_out
from dsray.sources.rows import good

SAID = ["noai", "all, NoImageAI", "none", "noindex", "*: noai", "otherbot: noai", "otherbot: noai, *: none", "",
        "unavailable_after: 25 Jun 2030 15:00:00 GMT, noai", "max-snippet: 5", "index, follow"]  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_robots_tags_mean_what_they_mean_to_a_crawl(said):
    assert opt_out({"x-robots-tag": said}) == crawl_opt_out(Headers({"X-Robots-Tag": said}), "dsray")


@pytest.mark.parametrize("said", ["1", " 1 ", "0", ""])
def test_reservations_too(said):
    assert opt_out({"tdm-reservation": said}) == crawl_opt_out(Headers({"TDM-Reservation": said}), "dsray")


def test_a_row_that_opts_out_has_no_payload():
    row = good("s", "http://h/", b"x", {"caption": "c"})
    assert obeyed(row) == row
    refused = obeyed({**row, "headers": '{"x-robots-tag": "noai"}'})
    assert "payload" not in refused and refused["error"] == "opted_out" and refused["id"] != row["id"]
