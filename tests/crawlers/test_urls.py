"""URLs in one spelling, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlers.urls import host, may_be_page, resolve, spelt


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("x y.png#part", "http://a.com/d/x%20y.png"),
        ("//B.org/é", "http://b.org/%C3%A9"),
        ("http://bücher.de", "http://xn--bcher-kva.de/"),
        ("?q=1", "http://a.com/d/?q=1"),
    ],
)
def test_a_url_has_one_spelling(written, url):
    assert resolve("http://a.com/d/", written) == url
    assert resolve("http://elsewhere/", url) == url


@pytest.mark.parametrize(
    "written",
    [
        "javascript:x()",
        "mailto:a@b.c",
        "data:image/png;base64,AA",
        "file:///etc/passwd",
        "ftp://x/",
        "http://user:password@x/",
        "http://[::1",
        "http://x:99999/",
        "http://x:0/",
        "/" + "a" * 3000,
    ],
)
def test_what_cannot_be_asked_is_none_and_stands_in_a_row_as_no_url(written):
    assert resolve("http://a.com/", written) is None
    assert not spelt(written).startswith(("http:", "https:"))


@given(st.text(max_size=60) | st.text(alphabet="ab/.;?#:@[]% \\=&é", max_size=30))
def test_any_text_at_all_resolves_to_a_fixed_point_or_none(written):
    url = resolve("http://a.com/d/", written)
    assert url is None or resolve("http://b.com/", url) == url


def test_a_host_goes_with_its_port():
    assert host("http://A.com/x") == host("http://a.com:80/") == "a.com"
    assert host("https://a.com:80/") == "a.com:80"


def test_files_are_not_pages():
    assert (
        may_be_page("http://a.com/") and may_be_page("http://a.com/v1.2/x") and may_be_page("http://a.com/a.html?b.png")
    )
    assert not may_be_page("http://a.com/a.PNG") and not may_be_page("http://a.com/a.tar.gz?x=1")
