"""stages.collect: what names a crawl."""

from crawlers.rounds import Crawl
from dsray import recipe
from dsray.lake.store import Store
from dsray.stages import collect

RECIPE = """
dataset: pictures
collect:
  site: {{crawl: {{start: [http://127.0.0.1/], allow_private: true, item: {item}}}}}
"""


def crawl_of(item: str, store: Store) -> tuple[str, Crawl]:
    wanted = recipe.parse(RECIPE.format(item=item))
    step = collect.step(wanted, {})
    return step.key, collect.crawl_of("site", step, wanted, store)


def test_the_first_field_of_an_item_is_its_media_so_another_order_is_another_crawl(store: Store):
    key, crawl = crawl_of('{image: "img::attr(src)", caption: "p::text"}', store)
    other, turned = crawl_of('{caption: "p::text", image: "img::attr(src)"}', store)
    assert key != other and crawl.ref != turned.ref and crawl.root != turned.root
    assert (crawl.fields, turned.fields) == (["caption"], ["image"])
