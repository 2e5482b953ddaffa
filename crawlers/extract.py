"""A page → its items, its links, and what it says about robots: pure functions of parsed HTML."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from lxml import etree  # type: ignore[import-untyped] # lxml has no types of its own
from parsel.csstranslator import css2xpath

Node = Any
"""An lxml element."""

_LICENCE_NAMES = frozenset({"license", "dc.rights", "dcterms.license", "dc.license", "dcterms.rights", "cc:license"})
_LICENCE = re.compile(r'"license"\s*:\s*"([^"]+)"')
_LONGEST_LICENCE = 512


def items(root: Node, media: str, texts: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Every media URL on the page, as written, with the texts of its block, in document order.

    A media element's *block* is the largest element around it that holds no other media element: its `figure`, its
    table row, or the whole page when there is one item only. Each text field is what its selector matches inside that
    block. Only when a field matches in no block, and as often on the page as there are items, are they paired in order.
    """
    found = list(_sources(root, media))
    blocks = _blocks([element for element, _ in found])
    columns = {name: _column(root, blocks, selector) for name, selector in texts.items()}
    for at, (_, url) in enumerate(found):
        yield url, {name: column[at] for name, column in columns.items()}


def links(root: Node, follow: str) -> Iterator[str]:
    """The URLs that `follow` matches, as written."""
    for _, url in _sources(root, follow):
        yield url


def robots(root: Node, agent: str) -> Iterator[tuple[str, str]]:
    """Directives in the page's head that speak to every robot or to `agent`: (name of the meta tag, directive)."""
    for meta in root.iterfind(".//meta[@name]"):
        name = (meta.get("name") or "").strip().lower()
        if name in ("robots", agent, "tdm-reservation"):
            for directive in (meta.get("content") or "").lower().split(","):
                yield name, directive.strip()


def licence(root: Node) -> str | None:
    """The licence that a page declares: rel=license on a link, Dublin Core in a meta tag, or `license` in JSON-LD."""
    for element in root.iter("a", "link"):
        if "license" in (element.get("rel") or "").lower().split() and element.get("href"):
            return str(element.get("href")).strip()[:_LONGEST_LICENCE]
    for meta in root.iterfind(".//meta[@content]"):
        if (meta.get("name") or meta.get("property") or "").lower() in _LICENCE_NAMES:
            return str(meta.get("content")).strip()[:_LONGEST_LICENCE] or None
    for script in root.iterfind(".//script[@type='application/ld+json']"):
        found = _LICENCE.search(script.text or "")
        if found:
            return found[1][:_LONGEST_LICENCE]
    return None


def _sources(root: Node, selector: str) -> Iterator[tuple[Node, str]]:
    """The elements that a selector matches, or whose attribute or text it does, and the URL that each gives."""
    for match in _compiled(selector)(root):
        if isinstance(match, str):
            element, url = match.getparent(), str(match)  # type: ignore[attr-defined] # lxml's strings know their element
        else:
            element, url = match, match.get("src") or match.get("href") or ""
        if url.strip():
            yield element, url.strip()


def _blocks(elements: list[Node]) -> list[Node]:
    """The block of each element, see `items`."""
    around = Counter(ancestor for element in dict.fromkeys(elements) for ancestor in element.iterancestors())
    return [_block(element, around) for element in elements]


def _block(element: Node, around: Mapping[Node, int]) -> Node:
    for parent in element.iterancestors():
        if around[parent] > 1:
            break
        element = parent
    return element


def _column(root: Node, blocks: list[Node], selector: str) -> list[str | None]:
    """A text field's value for each block."""
    inside: dict[Node, list[str]] = {block: [] for block in blocks}
    matches = _compiled(selector)(root)
    for match in matches:
        home = match.getparent() if isinstance(match, str) else match  # type: ignore[attr-defined] # as above
        block = next((node for node in home.iterancestors() if node in inside), None) if home not in inside else home
        if block is not None:
            inside[block].append(_text(match))
    if len(matches) == len(blocks) and not any(inside.values()):
        return [_joined([_text(match)]) for match in matches]
    return [_joined(inside[block]) for block in blocks]


def _text(match: Any) -> str:
    return match if isinstance(match, str) else "".join(match.itertext())


def _joined(texts: list[str]) -> str | None:
    """Texts in one line, blanks collapsed. None when there is nothing."""
    return " ".join(" ".join(texts).split()) or None


@lru_cache(maxsize=256)
def _compiled(selector: str) -> etree.XPath:
    return etree.XPath(css2xpath(selector))
