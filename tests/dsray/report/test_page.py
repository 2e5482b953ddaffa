import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsray.report import charts, page
from dsray.report.grid import grid
from dsray.report.page import (
    Checkpoint,
    Curve,
    Example,
    Grid,
    Histogram,
    Nearest,
    Report,
    Rule,
    Score,
    Stage,
    Walk,
    render,
)
from dsray.report.private import Private

SHEET = grid(np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8), 2)
EVIL = "</style><script>alert(1)</script><img src=http://evil.test/x onerror=alert(1)>\"'`{{ 7*7 }}"
URL_ATTRIBUTES = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Seen(HTMLParser):
    """What a browser would find: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != [("style", {})]:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def full(text: str = "plain", url: str = "https://example.org/a/7.png") -> Report:
    """A report with everything in it; `text` and `url` stand wherever the web or a recipe could put them."""
    edges, kept, dropped = charts.bins([1.0, 2.0, 3.0], [0.1], [0.5])
    points = [{"images": 64.0 * i, text: 1 / i, "kl": 300.0 * i, "images_per_s": 900.0} for i in range(1, 9)]
    return Report(
        dataset=text,
        version="v3",
        created=text,
        recipe=text,
        rows_in=5412,
        kept=4865,
        quarantined=547,
        augmented=3892,
        synthetic=4000,
        stages=[Stage(text, 5412, 5262, 150, text)],
        quarantine=[
            Rule(text, 41, 41 / 5412, text, [Example(SHEET, text, url), Example(None, text, url)]),
            Rule("no pictures", 1, 1 / 5412, "", [Example(None, text, url)]),
        ],
        signals=[Histogram(text, text, edges, kept, dropped, 0.5, None)],
        classes={text: {"train": {"real": 10, "synthetic": 5}, text: {text: 3}}},
        real_grid=SHEET,
        grids=[Grid(text, SHEET, text)],
        grid_classes=[text, "b"],
        training=[
            Curve(
                text,
                points,
                [Checkpoint(64, SHEET), Checkpoint(128, None)],
                {text: [(64, 3.0), (128, 2.0)], "floor": [(64, 1.0), (128, 1.0)]},
                [text],
            )
        ],
        walks=[Walk(text, SHEET)],
        nearest=[Nearest(text, SHEET, [(0.25, 12.0), (0.875, 30.5)], text)],
        accepted=text,
        by_class={text: {text: 0.5, "b": None}, "b": {text: 0.75, "b": 1.0}},
        private=[Private(text, 10.0, 1e-5, 0.6, text)],
        scores=[
            Score(text, "usefulness", "0.98", text, text, True, text, text),
            Score(text, text, "0.5", "", "at least 0.85", False),
            Score("vae", "distance", "3.1"),
        ],
        provenance={text: text, "source": url},
    )


def test_the_numbers_and_sections_are_there() -> None:
    seen = Seen(render(full()))
    for words in ("5,412", "4,865", "547", "12,757", "1 of 2 gates failed", "900 images/s", "at least 0.85"):
        assert words in seen.text
    anchors = [a["href"][1:] for a in seen.of("a") if a["href"].startswith("#")]
    assert anchors == [s["id"] for s in seen.of("section")]
    assert len(anchors) == 12


def test_hostile_text_stays_text() -> None:
    plain, evil = Seen(render(full())), Seen(render(full(EVIL, EVIL)))
    # the same tags, in the same order, as with harmless text: nothing that was put in became markup
    assert [tag for tag, _ in evil.tags if tag != "a"] == [tag for tag, _ in plain.tags if tag != "a"]
    assert "<script>alert(1)</script>" in evil.text
    assert "{{ 7*7 }}" in evil.text
    assert not evil.of("script")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_any_text_makes_the_same_page_around_it(text: str) -> None:
    shape = [tag for tag, _ in Seen(render(full("plain"))).tags]
    assert [tag for tag, _ in Seen(render(full(f"x{text}"))).tags] == shape


@pytest.mark.parametrize("text", ["plain", EVIL])
def test_nothing_is_fetched_and_nothing_is_run(text: str) -> None:
    seen = Seen(render(full(text, "https://example.org/a.png")))
    for tag, attributes in seen.tags:
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "form", "audio", "video")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in URL_ATTRIBUTES & set(attributes):
            place = attributes[name]
            assert place.startswith("data:image/") if tag == "img" else place.startswith(("#", "https://example.org/"))
    (style,) = re.findall(r"<style>(.*?)</style>", render(full(text)), re.S)
    assert "url(" not in style and "@import" not in style


def test_the_policy_allows_the_pages_own_style_and_no_other() -> None:
    html = render(full())
    (policy,) = [m["content"] for m in Seen(html).of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)",
        "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//evil.test/x", "/local", "https://", "http://[bad", "https://a.test/x\ny",
        "https://a.test/x y", "s3://bucket/key", "",
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(url: str) -> None:
    assert page.link(url) is None
    seen = Seen(render(full(url=url)))
    assert all(a["href"].startswith("#") for a in seen.of("a"))


def test_a_web_address_becomes_a_link_that_tells_nothing_of_the_reader() -> None:
    url = "https://example.org/a/7.png?x=1&y=<2>"
    (*_, link) = Seen(render(full(url=url))).of("a")
    assert link["href"] == url
    assert {"noreferrer", "noopener"} <= set(link["rel"].split())


def image_bytes(form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_raster_images_are_embedded_as_they_are(form: str) -> None:
    uri = page.data_uri(image_bytes(form))
    assert uri is not None
    head, _, body = uri.partition(",")
    assert head == f"data:image/{form.lower()};base64"
    assert base64.b64decode(body) == image_bytes(form)


@pytest.mark.parametrize("payload", [None, b"", b"<svg onload=alert(1)>", b"RIFF0000WAVE", b"<html>", b"\x89PN"])
def test_other_bytes_are_never_embedded(payload: bytes | None) -> None:
    assert page.data_uri(payload) is None
    report = replace(full(), real_grid=payload, quarantine=[Rule("r", 1, 0.1, "", [Example(payload, "v", "")])])
    assert render(report).count("data:image") == render(full()).count("data:image") - 2


@pytest.mark.parametrize(
    ("gone", "section"),
    [
        ({"stages": ()}, "rows"), ({"quarantine": ()}, "quarantine"), ({"signals": ()}, "signals"),
        ({"classes": {}}, "classes"), ({"real_grid": None, "grids": ()}, "samples"),
        ({"training": ()}, "training"), ({"scores": ()}, "scores"), ({"walks": ()}, "walks"),
        ({"nearest": ()}, "nearest"), ({"by_class": {}}, "learned"), ({"private": ()}, "privacy"),
        ({"provenance": {}, "recipe": ""}, "provenance"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_there_is_left_out(gone: dict[str, object], section: str) -> None:
    all_sections = [s["id"] for s in Seen(render(full())).of("section")]
    html = render(replace(full(), **gone))  # type: ignore[arg-type]  # one field each
    assert [s["id"] for s in Seen(html).of("section")] == [s for s in all_sections if s != section]
    assert f'href="#{section}"' not in html


def test_without_synthetic_rows_none_are_spoken_of() -> None:
    seen = Seen(render(Report("photos", "v1", rows_in=10, kept=9, quarantined=1, real_grid=SHEET)))
    assert "synthetic" not in seen.text and "gate" not in seen.text


def test_an_empty_report_is_a_page() -> None:
    seen = Seen(render(Report("nothing", "v0")))
    assert not seen.of("section")
    assert "No rows came in." in seen.text


def test_odd_parts_do_not_break_the_page() -> None:
    odd = replace(
        full(),
        signals=[Histogram("unmeasured", "", [], [], [])],
        training=[Curve("gan", []), Curve("vae", [{"loss": 1.0}, {"images": 5.0, "loss": float("nan")}])],
        classes={f"label {i}": {"train": {"real": i}} for i in range(500)},
    )
    seen = Seen(render(odd))
    assert "Nothing was measured." in seen.text
    assert "and 440 more labels" in seen.text


def test_the_same_report_makes_the_same_bytes() -> None:
    assert render(full()) == render(full())


def test_models_stand_side_by_side_and_what_was_measured_alike_is_said_once() -> None:
    found = [Score(model, "distance", value, "real 1.45", measured="n = 487") for model, value in ("a1", "b2")]
    seen = Seen(render(replace(full(), scores=[*found, Score("a", "KID", "0.1", measured="n = 9")])))
    assert seen.text.count("n = 487") == 1 and seen.text.count("n = 9") == 1 and seen.text.count("real 1.45") == 2
    other = [found[0], replace(found[1], measured="n = 100")]
    assert Seen(render(replace(full(), scores=other))).text.count("n = 100") == 1
    (row,) = page._compared(other)
    assert [cell.value if cell else None for cell in row[3]] == ["1", "2"] and not row[1] and not row[2]


def test_an_accepted_release_says_why() -> None:
    assert "Released all the same, because: a smoke test" in render(replace(full(), accepted="a smoke test"))
    passed = [Score("gan", "copies", "0%", passed=True)]
    assert "all the same" not in render(replace(full(), accepted="", scores=passed))


def test_a_private_model_says_what_it_spent() -> None:
    text = " ".join(Seen(render(full())).text.split())
    assert "ε = 10, δ = 1e-05" in text and "one training row, added or removed" in text


def test_all_gates_passed_is_said() -> None:
    assert "The gate passed" in render(replace(full(), scores=[Score("gan", "copies", "0%", passed=True)]))
    assert "All 2 gates passed" in render(replace(full(), scores=[Score("gan", n, "0%", passed=True) for n in "ab"]))
