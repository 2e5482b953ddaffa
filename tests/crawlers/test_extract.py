"""A page → items, links, directives."""

from lxml import html

from crawlers.extract import items, links, robots

MEDIA = "figure img::attr(src)"
TEXTS = {"caption": "figcaption::text"}


def test_each_figure_has_its_own_caption_and_a_figure_without_one_has_none():
    root = html.fromstring(
        "<main class=all><figure><img src=a><figcaption>A\n one</figcaption></figure><figure><img src=b></figure>"
        "<figure><figcaption>C</figcaption><img src=c></figure></main>"
    )
    texts = {"caption": "main.all figcaption::text"}  # a selector may begin outside the block
    found = [("a", {"caption": "A one"}), ("b", {"caption": None}), ("c", {"caption": "C"})]
    assert list(items(root, MEDIA, texts)) == found


def test_a_page_with_one_item_is_that_items_block():
    root = html.fromstring("<html><body><h1>A <b>digit</b> 7</h1><div><figure><img src=a></figure></div></body></html>")
    assert list(items(root, MEDIA, {"title": "h1"})) == [("a", {"title": "A digit 7"})]


def test_rows_of_a_table_are_blocks():
    root = html.fromstring("<table><tr><td><img src=1><td>one<tr><td><img src=2><td>two</table>")
    assert [fields["n"] for _, fields in items(root, "img", {"n": "td + td::text"})] == ["one", "two"]


def test_texts_that_stand_beside_the_blocks_are_paired_in_order_only_when_as_many():
    flat = "<div><img src=a><p>A</p><img src=b><p>B</p>{}</div>"
    pair = list(items(html.fromstring(flat.format("")), "img::attr(src)", {"t": "p::text"}))
    assert pair == [("a", {"t": "A"}), ("b", {"t": "B"})]
    more = list(items(html.fromstring(flat.format("<p>C</p>")), "img::attr(src)", {"t": "p::text"}))
    assert more == [("a", {"t": None}), ("b", {"t": None})]


def test_two_urls_of_one_element_share_its_block():
    root = html.fromstring("<figure><img src=a data-src=b><figcaption>x</figcaption></figure>")
    found = list(items(root, "img::attr(src), img::attr(data-src)", TEXTS))
    assert found == [("a", {"caption": "x"}), ("b", {"caption": "x"})]


def test_links_are_as_written_and_empty_ones_are_none():
    root = html.fromstring("<p><a href=' /x '>1</a><a>2</a><a href=''>3</a><a href='http://y/'>4</a></p>")
    assert list(links(root, "a::attr(href)")) == ["/x", "http://y/"]
    assert list(links(root, "a")) == ["/x", "http://y/"]


def test_robots_directives_speak_to_all_or_to_us():
    root = html.fromstring(
        "<html><head><meta name=Robots content='NoAI, nofollow'><meta name=dsray content=noimageai>"
        "<meta name=otherbot content=none><meta name=tdm-reservation content=1></head></html>"
    )
    said = list(robots(root, "dsray"))
    assert said == [("robots", "noai"), ("robots", "nofollow"), ("dsray", "noimageai"), ("tdm-reservation", "1")]
