"""Pages that make their figures by JavaScript (middlewares/render.py), and what their scripts may not reach."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from fetching import crawl, fetch, fetched, image, jobs_of, page, rows, start

pytest.importorskip("scrapy_playwright")


def why_not() -> str:
    """Why no browser starts here; nothing: one does."""
    chromium = os.environ.get("DSRAY_CHROMIUM") or shutil.which("chromium")
    if chromium:
        return "" if shutil.which(chromium) else f"no Chromium at {chromium}"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return "" if Path(own).exists() else f"no Chromium: neither `chromium` nor {own} nor DSRAY_CHROMIUM"


WHY_NOT = why_not()
needs_chromium = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

DRAW = """
function draw(source) {
  const figure = document.createElement("figure")
  figure.innerHTML = `<img src="${source}"><figcaption>digit of ${source}</figcaption>`
  document.body.append(figure)
}
"""


def scripted(script: str, head: str = "", **headers: str):
    """A page that is all script; `draw(source)` adds a figure."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    text = f"<html><head>{head}</head><body><script>{DRAW}{script}</script></body></html>"
    return 200, {"Content-Type": "text/html", **named}, text.encode()


FETCHES = 'fetch("/data.json").then(r => r.json()).then(all => all.forEach(draw))'


@needs_chromium
def test_figures_made_by_javascript_are_found_by_a_browser_only(site, job, tmp_path):
    answers = {
        "/": scripted(FETCHES),
        "/data.json": (200, {}, b'["/a.png", "/b.png"]'),
        "/a.png": image(b"A"),
        "/b.png": image(b"B"),
    }
    small = site(answers)
    assert crawl(job(small.url, lake=f"file://{tmp_path}/plain")) == {}
    assert "/data.json" not in small.hits
    small.hits.clear()
    got = crawl(job(small.url, javascript=True))
    assert {path: row["payload"] for path, row in got.items()} == {"/a.png": b"A", "/b.png": b"B"}
    assert got["/a.png"]["caption"] == "digit of /a.png"
    assert all(small.hits.count(path) == 1 for path in ("/", "/robots.txt", "/data.json", "/a.png", "/b.png"))
    assert len(small.agents) == 1, "the browser says who we are"


@needs_chromium
def test_what_holds_for_pages_holds_for_rendered_ones(site, job):
    paths = "noai tdm meta json moved large grows latin gone"
    answers = {
        "/robots.txt": (200, {}, b"User-agent: *\nDisallow: /no.html\n"),
        "/": page(links=("/no.html", *(f"/{path}" for path in paths.split()))),
        "/noai": scripted('draw("/x.png"); fetch("/ran")', X_Robots_Tag="noai"),
        "/tdm": scripted('draw("/x.png"); fetch("/ran")', TDM_Reservation="1"),
        "/meta": scripted('draw("/m.png")', head='<meta name="robots" content="noai">'),
        "/json": (200, {"Content-Type": "application/json"}, b"<script>fetch('/ran')</script>"),
        "/moved": (302, {"Location": "/target"}, b""),
        "/target": scripted('draw("t.png")'),
        "/t.png": image(b"T"),
        "/large": (200, {"Content-Type": "text/html"}, b"<p>" * 400_000),
        "/grows": scripted('document.body.append("x".repeat(2_000_000))'),
        "/latin": (200, {"Content-Type": "text/html; charset=iso-8859-1"},
                   b'<body><figure><img src="/l.png"><figcaption>caf\xe9</figcaption></figure>'
                   b'<script>document.querySelector("figcaption").append(" \\u4e2d")</script></body>'),
        "/l.png": image(b"L"),
        "/gone": (404, {"Content-Type": "text/html"}, b"<script>fetch('/ran')</script>"),
    }  # fmt: skip
    small = site(answers)
    got = crawl(job(small.url, javascript=True, max_mb=1))
    assert {path: row["error"] for path, row in got.items()} == {
        "/no.html": "robots", "/noai": "opted_out", "/tdm": "opted_out", "/m.png": "opted_out", "/t.png": None,
        "/large": "too_large", "/grows": "too_large", "/l.png": None, "/gone": "http_status",
    }  # fmt: skip
    assert got["/l.png"]["caption"] == "café 中"
    assert got["/t.png"]["page"] == small.url + "moved"
    assert not {"/ran", "/m.png", "/x.png", "/no.html"} & set(small.hits)


@needs_chromium
def test_a_page_loads_what_its_scripts_need_and_stays_where_it_is(site, job):
    made = """
      for (const [tag, name, url] of [["img", "src", "/ad.png"], ["video", "src", "/ad.mp4"], 
                                      ["iframe", "src", "/frame"], ["script", "src", "/more.js"]]) {
        const one = document.createElement(tag); one[name] = url; document.body.append(one)
      }
      navigator.sendBeacon("/beacon", "x"); window.open("/popup"); draw("/a.png")
    """
    answers = {
        "/": scripted(
            made + 'setTimeout(() => location = "/elsewhere", 50)', head='<link rel="stylesheet" href="/s.css">'
        ),
        "/now": scripted('location = "/elsewhere"; draw("/b.png")'),
        "/refresh": scripted('draw("/c.png")', head='<meta http-equiv="refresh" content="0; url=/elsewhere">'),
        "/more.js": (200, {"Content-Type": "text/javascript"}, b'draw("/d.png"); document.cookie = "seen=1"'),
        "/frame": (200, {"Content-Type": "text/html"}, b"framed"),
        "/s.css": (200, {"Content-Type": "text/css"}, b"body { background: url(/ad.png) }"),
        "/popup": (200, {"Content-Type": "text/html"}, b"ad"),
        "/elsewhere": page("/e.png"),
        **{f"/{name}.png": image(name.encode()) for name in "abcde"},
    }
    small = site(answers)
    got = crawl(job(small.url, small.url + "now", small.url + "refresh", javascript=True))
    assert {path for path, row in got.items() if row["payload"]} == {"/a.png", "/b.png", "/c.png", "/d.png"}
    assert {"/more.js", "/frame", "/s.css"} <= set(small.hits)
    assert not {"/ad.png", "/ad.mp4", "/beacon", "/popup", "/elsewhere", "/e.png"} & set(small.hits)


PUBLIC = """
import crawlers.middlewares.address as address
real = address.forbidden
address.forbidden = lambda text, allowed: text != "127.0.0.2" and real(text, allowed)
import socket
from crawlers.download import Resolver
first, later = Resolver.resolve, socket.getaddrinfo
async def resolve(self, host, port=0, family=0):
    return await first(self, "127.0.0.2" if host == "rebind.example" else host, port, family)
Resolver.resolve = resolve
socket.getaddrinfo = lambda host, *args, **more: later("127.0.0.1" if host == "rebind.example" else host, *args, **more)
from crawlers.fetch import main
raise SystemExit(main())
"""
"""A fetch that takes 127.0.0.2 for a public address. rebind.example is there for us, and then at 127.0.0.1."""

ATTACK = """
const hosts = ["127.0.0.1", "localhost", "x.localhost", "[::ffff:127.0.0.1]", "2130706433"]
const tries = hosts.map((host, i) => fetch(`http://${host}:PORT/fetch${i}`, {mode: "no-cors"}))
tries.push(fetch("/hop", {mode: "no-cors"}), fetch("/secret", {mode: "no-cors"}))
for (const [tag, url] of [["iframe", "frame"], ["script", "script"], ["img", "img"], ["iframe", "/hop"]]) {
  const one = document.createElement(tag)
  one.src = url[0] == "/" ? url : "http://127.0.0.1:PORT/" + url
  document.body.append(one)
}
for (const rel of ["stylesheet", "preconnect", "prefetch", "preload", "dns-prefetch"]) {
  const one = document.createElement("link")
  Object.assign(one, {rel, href: "http://127.0.0.1:PORT/" + rel, as: "fetch"})
  document.head.append(one)
}
const may = (make) => { try { make() } catch (error) { console.log(error) } }
may(() => new WebSocket("ws://127.0.0.1:PORT/socket"))
may(() => new EventSource("http://127.0.0.1:PORT/events"))
may(() => navigator.sendBeacon("http://127.0.0.1:PORT/beacon", "x"))
may(() => window.open("http://127.0.0.1:PORT/window"))
may(() => new WebTransport("https://127.0.0.1:UDP/transport"))
may(() => navigator.serviceWorker.register("/worker.js"))
may(() => new Worker(URL.createObjectURL(new Blob(["importScripts('http://127.0.0.1:PORT/import')"]))))
may(() => {
  const peer = new RTCPeerConnection({iceServers: [
    {urls: ["stun:127.0.0.1:UDP", "stun:localhost:UDP"]},
    {urls: ["turn:127.0.0.1:UDP", "turn:127.0.0.1:PORT?transport=tcp"], username: "a", credential: "b"},
  ]})
  peer.createDataChannel("x")
  peer.createOffer().then(offer => peer.setLocalDescription(offer))
})
const end = () => { draw("/done.png"); location = "http://127.0.0.1:PORT/away" }
Promise.allSettled(tries).then(() => fetch("http://127.0.0.2:PORT/two-seconds", {mode: "no-cors"})).finally(end)
"""


class Private:
    """A private machine: a TCP and a UDP port that remember what reached them."""

    def __init__(self, port: int) -> None:
        self.lines: list[str] = []
        self.tcp = socket.create_server(("127.0.0.1", port))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.datagrams = 0
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._receive, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                one, _ = self.tcp.accept()
            except OSError:
                return
            one.settimeout(2)
            try:
                data = one.recv(1000)
            except OSError:
                data = b""
            self.lines.append(data.split(b"\r\n")[0].decode("latin-1"))
            one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            one.close()

    def _receive(self) -> None:
        while True:
            try:
                self.udp.recv(2000)
            except OSError:
                return
            self.datagrams += 1


@needs_chromium
@pytest.mark.parametrize("host", ["127.0.0.2", "rebind.example"])
@pytest.mark.parametrize("allowed", [False, True])
def test_scripts_do_not_reach_private_addresses(site, job, host, allowed):
    answers = {
        "/done.png": image(b"done"),
        "/worker.js": (200, {"Content-Type": "text/javascript"}, b""),
        "/two-seconds": lambda: (time.sleep(2), (200, {}, b""))[1],
    }
    public = site(answers, "127.0.0.2")
    private = Private(public.port)
    script = ATTACK.replace("PORT", str(public.port)).replace("UDP", str(private.udp.getsockname()[1]))
    answers["/"] = scripted(script)
    answers["/hop"] = (302, {"Location": f"http://127.0.0.1:{public.port}/hopped"}, b"")
    said = job(f"http://{host}:{public.port}/", allow_private=allowed, javascript=True)
    got = rows(said, fetch(said, PUBLIC).end)
    private.tcp.close()
    assert [row["payload"] for row in got] == [b"done"], "the scripts ran to their end"
    assert private.datagrams == 0
    asked = {line.split(" ")[1].strip("/") for line in private.lines if " " in line}
    if allowed:  # what the page tries does work
        assert {"fetch0", "fetch1", "fetch2", "frame", "script", "stylesheet", "socket"} <= asked
        assert "hopped" in asked or host == "rebind.example"
        assert not {"window", "away", "img"} & asked
    else:
        assert private.lines == []


@needs_chromium
@pytest.mark.parametrize(
    "script", ["while (true) {}", 'fetch("/never")', 'document.write("<script src=/never><\\/script>")']
)
def test_a_page_that_never_ends_gets_its_outcome(site, job, script):
    stop = threading.Event()

    def never():
        stop.wait(30)
        return 200, {}, b""

    small = site({"/": page(links=("/slow", "/good")), "/good": scripted('draw("/a.png")'), "/a.png": image(b"A"),
                  "/slow": scripted(f'draw("/b.png"); {script}'), "/b.png": image(b"B"), "/never": never})  # fmt: skip
    began = time.monotonic()
    got = crawl(job(small.url, javascript=True, timeout_s=8, retry={"times": 1}))
    stop.set()
    assert got["/a.png"]["payload"] == b"A"
    if script.startswith("fetch"):  # loaded, but never at rest: read as it is
        assert got["/b.png"]["payload"] == b"B"
    else:
        assert got["/slow"]["error"] == "timeout" and json.loads(got["/slow"]["evidence"])["signal"] == "browser"
    assert time.monotonic() - began < 40


def browsers(child: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that a fetch process started, once there is a browser with a page among them."""
    for _ in range(300):
        found = psutil.Process(child.pid).children(recursive=True)
        with contextlib.suppress(psutil.Error):  # one that ends meanwhile
            if any("--type=renderer" in one.cmdline() for one in found):
                return found
        time.sleep(0.1)
    raise AssertionError("no browser")


@needs_chromium
def test_the_browser_dies_with_the_fetch_process(site, job):
    small = site({"/": scripted("while (true) {}")})
    (only,) = jobs_of(job(small.url, javascript=True))
    with start(only) as child:
        found = browsers(child)
        os.kill(child.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(found, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@needs_chromium
@pytest.mark.parametrize("victim", ["--remote-debugging-pipe", "--type=renderer"])
def test_a_killed_browser_is_started_again(site, job, victim):
    waits = threading.Event()

    def answer():
        waits.wait(6)
        return 200, {}, b""

    pages = {f"/{i}": scripted(f'fetch("/waits").then(() => draw("/{i}.png"))') for i in range(3)}
    pictures = {f"/{i}.png": image(b"%d" % i) for i in range(3)}
    small = site({**pages, **pictures, "/waits": answer})
    said = job(*(small.url + path[1:] for path in pages), javascript=True)
    (only,) = jobs_of(said)
    with start(only) as child:
        for one in browsers(child):
            with contextlib.suppress(psutil.Error):
                words = one.cmdline()
                if victim in words and (victim.startswith("--type") or not any("--type=" in word for word in words)):
                    one.kill()
        waits.set()
        assert child.stdout
        out = [json.loads(line) for line in child.stdout]
        assert child.wait(60) == 0
    assert {row["payload"] for row in rows(said, out[-1]["done"])} == {b"0", b"1", b"2"}


@needs_chromium
def test_without_its_driver_every_page_still_has_its_outcome(site, job):
    small = site({"/": scripted('fetch("/waits")'), "/waits": lambda: (time.sleep(4), (200, {}, b""))[1]})
    said = job(small.url, javascript=True, timeout_s=10)
    (only,) = jobs_of(said)
    with start({**only, "insist": True}) as child:
        assert browsers(child)
        for one in psutil.Process(child.pid).children():
            one.kill()
        assert child.stdout
        out = [json.loads(line) for line in child.stdout]
        assert child.wait(60) == 0
    assert [row["error"] for row in rows(said, out[-1]["done"])] == ["unreachable"]


@pytest.mark.parametrize("path", ["/nowhere/chromium", "/bin/false"])
def test_a_browser_that_does_not_start_is_said_in_a_sentence(site, job, path, monkeypatch):
    monkeypatch.setenv("DSRAY_CHROMIUM", path)
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    said = fetch(job(small.url, javascript=True))
    assert said.code == 4 and said.error["kind"] == "SourceError"
    wrong, do = said.error["error"]
    assert wrong.startswith("Chromium does not start") and "\n" not in wrong
    assert "playwright install chromium" in do and "DSRAY_CHROMIUM" in do


def test_an_extra_that_is_missing_is_said_in_a_sentence(site, job):
    small = site({"/": page()})
    (only,) = jobs_of(job(small.url, javascript=True))
    hidden = """
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "scrapy_playwright" else real(name, *more)
from crawlers.fetch import main
raise SystemExit(main())
"""
    said = fetched(only, hidden)
    assert said.code == 4 and "dsray[playwright]" in said.error["error"][1]
    assert small.hits == []
