"""A small web on this machine that knows what a correct crawler makes of it: 200 virtual hosts behind one port.

`World(port)` is a pure function of its port, hosts and seed. `serve()` answers from a child process, which builds the
same world by itself; the Host header chooses the virtual host. Hosts are named here without their port.
"""

import gzip
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

Fate = tuple[str, str]
"""(error, signal) of the row; an empty signal means any."""

KEPT, REDIRECTS, UNREACHABLE, TIMEOUT = ("", ""), ("redirects", ""), ("unreachable", ""), ("timeout", "")
ROBOTS, STATUS, HEADER = ("robots", "robots.txt"), ("http_status", "status"), ("opted_out", "x-robots-tag")
TOO_LARGE, INVALID, UNSEEN = ("too_large", ""), ("invalid", ""), ("", "unseen")
AI_TXT, TDMREP, TDM = ("opted_out", "ai.txt"), ("opted_out", "tdmrep.json"), ("opted_out", "tdm-reservation")
UNASKED = ("robots.txt", "ai.txt", "tdmrep.json", "unseen", "meta ")  # known before the media is asked for
TDMREP_JSON = "/.well-known/tdmrep.json"
WELL_KNOWN = ("/robots.txt", "/robots-real.txt", "/ai.txt", TDMREP_JSON)
OUTSIDE = "outside.localhost"
BUDGET = 60  # pages of a host, which only a calendar uses up

Hit = tuple[float, str, str, int]
"""A request: when it came, host, path with query, status; 0 when the answer was never whole."""


@dataclass
class Route:
    """An answer. `first` come before it, one request each; a `fault` is how it is sent, see `world_server`."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""
    first: tuple["Route", ...] = ()
    head: str = ""
    parts: list[str] = field(default_factory=list)  # of a page
    write: Callable[[str], bytes] = str.encode


OK = Route()


@dataclass
class Plant:
    """What a host has beside the ordinary. Media `/x-1.png` is on the page `/x.html` if there is one, else on `/`."""

    media: dict[str, tuple[Route, Fate]] = field(default_factory=dict)
    files: dict[str, Route] = field(default_factory=dict)
    pages: dict[str, Route] = field(default_factory=dict)
    links: tuple[str, ...] = ()  # after all others on `/`
    refused: dict[str, Fate] = field(default_factory=dict)  # pages
    elsewhere: Fate = KEPT  # of `/img/e.png` here, which only another host shows
    robots: Route = field(default_factory=lambda: text("User-agent: *\nDisallow:\n"))
    never: tuple[str, ...] = ()
    gap: float = 0
    more: Callable[["Site"], None] = lambda site: None


@dataclass
class Site:
    """One virtual host while it is built; `copy` counts the hosts with the same plant."""

    world: "World"
    name: str
    copy: int
    rng: random.Random
    pages: dict[str, Route] = field(default_factory=dict)

    def url(self, path: str, host: str = "") -> str:
        return f"http://{host or self.name}:{self.world.port}{path}"

    def link(self, written: str, page: str = "/") -> None:
        self.pages[page].parts.append(f'<a href="{written.replace("&", "&amp;")}">more</a>')

    def figure(self, page: str, written: str, url: str) -> None:
        parts = self.pages[page].parts
        fields = written.replace("&", "&amp;"), f"digit {len(parts)} of {url}".replace("&", "&amp;")
        parts.append('<figure><img src="{}" alt=""><figcaption>{}</figcaption></figure>\n'.format(*fields))
        self.world.media_of.setdefault(self.url(page), []).append(url)

    def page(self, path: str, route: Route = OK) -> None:
        """A new page that `/` links to."""
        headers = {"Content-Type": "text/html; charset=utf-8", **route.headers}
        self.pages[path] = replace(route, headers=headers, parts=[])
        self.route(path, self.pages[path])
        self.link(path)

    def route(self, path: str, route: Route, host: str = "") -> None:
        self.world.routes[host or self.name, canonical(path)] = route
        if any("Retry-After" in once.headers for once in route.first):
            self.world.retry_after[self.name, path] = 2.0

    def media(self, page: str, path: str, route: Route = OK, fate: Fate = KEPT, host: str = "") -> str:
        """A figure on a page, and what becomes of its image."""
        url = self.url(path, host)
        body = route.body or (self.payload() if route.status == 200 else b"gone")
        self.route(path, replace(route, headers={"Content-Type": "image/png", **route.headers}, body=body), host)
        self.figure(page, url if host else self.rng.choice([url, path, path[1:]]), url)
        if fate == KEPT:
            self.world.kept[url] = body
        elif fate != UNSEEN:
            self.world.refused[url] = fate
        if route.status == 200 and fate[1].startswith(UNASKED):
            self.world.forbidden.add((host or self.name, path))
        return url

    def payload(self) -> bytes:
        """An image; some are the same on several hosts."""
        if self.rng.random() < 0.05:
            return random.Random(f"{self.world.seed} twin {self.rng.randrange(20)}").randbytes(1000)
        return self.rng.randbytes(self.rng.randint(200, 3000))

    def fill(self, plant: Plant) -> None:
        """What every host has, a few pages with a few images, a fifth of them on a plain host; then its plant."""
        self.route("/robots.txt", plant.robots)
        paths = ["/", *(f"/p{at}.html" for at in range(self.rng.randint(2, 4)))] if plant.robots.status < 500 else []
        for at, page in enumerate(paths):
            self.page(page)
            for number in range(self.rng.randint(2, 4)):
                host = self.rng.choice(self.world.plain) if self.rng.random() < 0.2 and not plant.gap else ""
                self.media(page, f"/{'cdn' if host else 'm'}/{self.name[:4]}-{at}-{number}.png", host=host)
            self.link(paths[at - 1] + "#top", page)
        for path, route in plant.pages.items():
            self.page(path, route)
        for path, route in plant.files.items():
            self.route(path, route)
        for path, (route, fate) in plant.media.items():
            page = path.split(".")[0].split("-")[0] + ".html"
            self.media(page if page in self.pages else "/", path, route, fate)
        if plant.elsewhere != KEPT:
            shown = self.world.sites[self.rng.choice(self.world.plain)]
            shown.media("/", "/img/e.png", OK, plant.elsewhere, self.name)
        plant.more(self)
        for written in [*plant.links, *(path for path in plant.refused if path not in ("/", *self.pages))]:
            self.link(written)
        self.world.refused |= {self.url(path): fate for path, fate in plant.refused.items()}
        self.world.forbidden |= {(self.name, path) for path in plant.never}
        if plant.gap:
            self.world.gaps[self.name] = plant.gap

    def away(self) -> None:
        """An image that is a redirect to another host's."""
        body, host, path = self.payload(), self.rng.choice(self.world.plain), f"/away/{self.name[:4]}.png"
        self.route(path, Route(headers={"Content-Type": "image/png"}, body=body), host)
        self.world.kept[self.media("/", "/away.png", to(self.url(path, host)))] = body

    def spellings(self) -> None:
        """A page and an image in four spellings each."""
        ways = ["?a=1&b=2", "?b=2&a=1", "?a=1&b=2&utm_source=x", "?a=1&b=2#top"]
        first, *others = ways[self.copy :] + ways[: self.copy]
        self.page("/list" + first)
        self.media("/list" + first, "/listed.png")
        shown = self.media("/", "/x.png" + first)
        for way in others:
            self.link("/list" + way)
            self.figure("/", "/x.png" + way, shown)
            self.world.canonical |= {self.url(path + way): self.url(path + first) for path in ("/list", "/x.png")}

    def invalid(self) -> None:
        """A figure without a URL, and a link that leads out of the crawl."""
        bad = f"http://[bad-{self.name[:4]}"
        self.figure("/", bad, "invalid:" + bad)
        self.world.refused["invalid:" + bad] = INVALID
        self.link(self.url("/", OUTSIDE))

    def all_images(self) -> None:
        """ai.txt refuses every png of the host."""
        for url in [url for url in self.world.kept if place(url)[0] == self.name and url.endswith(".png")]:
            del self.world.kept[url]
            self.world.refused[url] = AI_TXT
            self.world.forbidden.add(place(url))


class World:
    """The hosts, their answers, and what a correct crawler makes of them."""

    def __init__(self, port: int, hosts: int = 200, seed: int = 7) -> None:
        self.port, self.count, self.seed = port, hosts, seed
        self.kept: dict[str, bytes] = {}
        self.refused: dict[str, Fate] = {}
        self.canonical: dict[str, str] = {}  # another spelling → the first one, which the row has
        self.forbidden = {(OUTSIDE, "/"), (OUTSIDE, "/robots.txt")}
        self.gaps: dict[str, float] = {}
        self.retry_after: dict[tuple[str, str], float] = {}
        self.planted: dict[str, list[str]] = {name: [] for name in PLANTS}  # hosts
        self.media_of: dict[str, list[str]] = {}  # page → media on it
        self.routes: dict[tuple[str, str], Route] = {}
        self.changes: list[tuple[str, ...]] = []
        self.log = tempfile.NamedTemporaryFile(suffix=".jsonl")  # noqa: SIM115
        self.child: subprocess.Popen[bytes] | None = None
        names = [f"h{at:03d}.localhost" for at in range(hosts)]
        self.start = [f"http://{name}:{self.port}/" for name in names]
        mixed = random.Random(seed).sample(names, hosts)
        plants = [(name, copy) for copy in range(min(3, hosts * 9 // 10 // len(PLANTS))) for name in PLANTS]
        assert plants, f"{hosts} hosts have no room for {len(PLANTS)} plants"
        self.plain = mixed[len(plants) :]
        self.sites = {name: Site(self, name, 0, random.Random(f"{seed} {name}")) for name in names}
        for name in self.plain:
            self.sites[name].fill(Plant())
        for host, (name, copy) in zip(mixed, plants, strict=False):
            self.planted[name].append(host)
            self.sites[host].copy = copy
            self.sites[host].fill(PLANTS[name])
        for page in [page for site in self.sites.values() for page in site.pages.values()]:
            page.body = page.write(f"<html><head>{page.head}</head><body>{''.join(page.parts)}</body></html>")

    def flip(self, url: str) -> None:
        """Media opts out: X-Robots-Tag: noai from now on, on a 304 too; its ETag stays."""
        self._change("flip", url)

    def replace(self, url: str, payload: bytes) -> None:
        """Media has a new payload and a new ETag."""
        self._change("replace", url, payload.hex())

    def remove(self, page: str) -> None:
        """A page, and the media on it that could be had, answer 404."""
        self._change("remove", page)

    def _change(self, *change: str) -> None:
        self.changes.append(change)
        self.apply(*change)
        self._tell([change])

    def _tell(self, changes: list[tuple[str, ...]]) -> None:
        """Has the child make the changes too, and waits until it has."""
        if self.child:
            assert self.child.stdin and self.child.stdout
            self.child.stdin.write(json.dumps(changes).encode() + b"\n")
            self.child.stdin.flush()
            assert self.child.stdout.readline() == b"ready\n", "the world does not answer"

    def apply(self, what: str, url: str, payload: str = "") -> None:
        """Makes a change to the answers, and to what is expected of the next crawl."""
        if what == "remove":
            for gone in [url, *(one for one in self.media_of.get(url, ()) if one in self.kept)]:
                self.routes[place(gone)] = Route(404, body=b"gone")
                self.kept.pop(gone, None)
                self.refused[gone] = STATUS
            return
        route, body = self.routes[place(url)], self.kept.pop(url)
        assert route.body == body, f"{url} is a redirect"
        if what == "replace":
            route.body = self.kept[url] = bytes.fromhex(payload)
        else:
            route.headers["X-Robots-Tag"], self.refused[url] = "noai", HEADER

    @contextmanager
    def serve(self) -> Iterator["World"]:
        """Answers from a child process, which ends with the block, and with us if we are killed."""
        command = [
            sys.executable,
            str(Path(__file__).with_name("world_server.py")),
            str(self.port),
            str(self.count),
            str(self.seed),
            self.log.name,
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as self.child:
            try:
                self._tell(self.changes)
                yield self
            finally:
                self.child.kill()
                self.child = None

    def hits(self) -> list[Hit]:
        """All requests so far, in the order of their coming."""
        return [tuple(json.loads(line)) for line in Path(self.log.name).read_text().splitlines()]

    def broken(self, hits: list[Hit], slack: float = 0.1, aloft: int = 0, killed: Sequence[float] = ()) -> list[str]:
        """The promises that one crawl's requests broke.

        A request may linger for `slack` seconds on its way; `aloft` may be on it when the host says Retry-After, and
        who is `killed` after that may not have written it down.
        """
        found = [f"forbidden: {hit}" for hit in hits if hit[1:3] in self.forbidden]
        got = Counter((host, canonical(path)) for _, host, path, status in hits if status in (200, 304))
        found += [f"{times} times: {at}" for at, times in got.items() if times > 1 and at[1] not in WELL_KNOWN]
        days = Counter(host for host, path in got if path.startswith("/cal?"))
        found += [f"{count} pages of a calendar: {host}" for host, count in days.items() if count > BUDGET]
        last, closed = dict[str, float](), dict[str, tuple[float, float]]()  # closed: said at, over at
        flying: dict[str, int] = {}
        for hit in [hit for hit in hits if hit[2] not in WELL_KNOWN]:
            at, host, path, status = hit
            if host in last and at < last[host] + self.gaps.get(host, 0) - slack:
                found.append(f"{at - last[host]:.2f} s after the one before: {hit}")
            said, over = closed.get(host, (0.0, 0.0))
            if at < over and not any(said < moment < at for moment in killed):
                flying[host] -= 1
                if flying[host] < 0:
                    found.append(f"{over - at:.2f} s before Retry-After is over: {hit}")
            last[host] = at
            if status in (429, 503):
                closed[host] = at, at + self.retry_after.get((host, path), 0) - slack
                flying[host] = aloft
        return found


def canonical(path: str) -> str:
    """One spelling of a path: its query sorted, without fragment and utm_ parameters."""
    path, _, query = path.partition("#")[0].partition("?")
    wanted = sorted(one for one in query.split("&") if one and not one.startswith("utm_"))
    return "?".join([path, "&".join(wanted)]) if wanted else path


def place(url: str) -> tuple[str, str]:
    """A URL's host and canonical path."""
    parts = urlsplit(url)
    return str(parts.hostname), canonical(f"{parts.path}?{parts.query}")


def text(body: str, status: int = 200, **headers: str) -> Route:
    return Route(status, {"Content-Type": "text/plain", **headers}, body.encode("latin-1"))


def to(location: str) -> Route:
    return Route(302, {"Location": location})


def image(route: Route, fate: Fate = KEPT) -> Plant:
    return Plant({"/x.png": (route, fate)})


def page(route: Route, fate: Fate = KEPT) -> Plant:
    """A page, and what becomes of the images on it."""
    return Plant({f"/x-{at}.png": (OK, fate) for at in range(3)}, pages={"/x.html": route})


def private(rules: str, opened: Fate = ROBOTS) -> Plant:
    """/private/ is closed to us: a page, an image, another one's redirect, and perhaps what is below open/."""
    images = {"/private/it.png": (OK, ROBOTS), "/private/open/it.png": (OK, opened)}
    images["/hop.png"] = (to("/private/hop.png"), ROBOTS)
    return Plant(images, refused={"/private/": ROBOTS}, robots=text(rules), never=("/private/", "/private/hop.png"))


ALL, CLOSED = "User-agent: *\n", "Disallow: /private/\n"
RULES, RESERVED = text(ALL + CLOSED), text('[{"location": "/img/*", "tdm-reservation": 1}]')
SORRY, TOO_MANY, LATER = Route(500), Route(429, {"Retry-After": "2"}), Route(503, {"Retry-After": "date"})
HTML, GZIP = {"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}
NOTHING = {"/empty": Route(200, HTML), "/paper": Route(200, {"Content-Type": "application/pdf"}, b"%PDF")}
BOMB, DAMAGED = gzip.compress(bytes(50_000_000), 1, mtime=0), gzip.compress(b"damaged", mtime=0)[:15] + bytes(40)
NEXT = b'<a href="/cal?day=%d">+</a><a href="/cal?day=%d">+</a>'  # so that the budget ends before the depth
DAYS = {f"/cal?day={day}": Route(200, HTML, NEXT % (day + 1, day + 7)) for day in range(1, 1000)}
LOOP = {f"/loop{at}{end}": to(f"/loop{3 - at}{end}") for at in (1, 2) for end in ("", ".png")}
CHAIN = {f"/chain{at}.png": to(f"/chain{at + 1}.png") for at in range(1, 10)}
FAULTS = {"drop": UNREACHABLE, "short": UNREACHABLE, "reset": UNREACHABLE, "hang": TIMEOUT, "drip": TIMEOUT}
TAGS = [("X-Robots-Tag", value, HEADER) for value in ("noai", "noimageai", "noindex", "none", "dsray: noai")]
TAGS += [("X-Robots-Tag", "otherbot: noai", KEPT), ("TDM-Reservation", "1", TDM), ("TDM-Reservation", "0", KEPT)]
AI_PNG = {"/ai.txt": text(ALL + "Disallow: *.png\n")}
HEAD = '<meta name="{}" content="{}">'
METAS = [
    one.split() for one in ("robots noai", "robots noimageai", "robots noindex", "dsray noai", "tdm-reservation 1")
]

PLANTS = {
    "robots 404": Plant(robots=text("", 404)),
    "robots disallow": private(ALL + CLOSED),
    "robots group": private(ALL + "Disallow: /\n\nUser-agent: dsray\n" + CLOSED),
    "robots longest": private(ALL + CLOSED + "Allow: /private/open/\n", KEPT),
    "robots 503": Plant(robots=text("later", 503), elsewhere=ROBOTS, refused={"/": ROBOTS}, never=("/",)),
    **{f"robots delay {n}": Plant(robots=text(f"{ALL}Crawl-delay: {n}\n"), gap=n) for n in (0.4, 1)},
    "robots redirect": replace(private(""), robots=to("/robots-real.txt"), files={"/robots-real.txt": RULES}),
    "robots junk": private("\x00\xff\xfe\x80:\x01\n\x9f\x92\n" + ALL + CLOSED),
    "429": image(Route(first=(TOO_MANY,))),
    "429 page": page(Route(first=(TOO_MANY,))),
    "503": image(Route(first=(LATER,))),
    "500 twice": image(Route(first=(SORRY, SORRY))),
    **{f"{code} image": image(Route(code), STATUS) for code in (404, 410, 500)},
    **{f"{code} page": Plant(files={"/gone": Route(code)}, refused={"/gone": STATUS}) for code in (404, 410)},
    "calendar": Plant(files=DAYS, links=("/cal?day=1",)),
    "loop": Plant({"/loop1.png": (LOOP["/loop1.png"], REDIRECTS)}, LOOP, refused={"/loop1": REDIRECTS}),
    "chain": Plant({"/chain1.png": (CHAIN["/chain1.png"], REDIRECTS)}, {**CHAIN, "/chain10.png": text("end")}),
    "away": Plant(more=Site.away),
    "spellings": Plant(more=Site.spellings),
    **{fault: image(Route(fault=fault), fate) for fault, fate in FAULTS.items()},
    "bomb": image(Route(headers=GZIP, body=BOMB), TOO_LARGE),
    "10 GB": image(Route(headers={"Content-Length": "10000000000"}, fault="huge"), TOO_LARGE),
    "damaged gzip": image(Route(headers=GZIP, body=DAMAGED), INVALID),
    "malformed": page(Route(write=lambda html: html.replace("</figcaption>", "<b><i>").replace('"', "").encode())),
    "unknown charset": page(Route(headers={"Content-Type": "text/html; charset=klingon"}, head="<title>Ærø</title>")),
    "wrong charset": page(Route(head="<title>Ærø</title>", write=lambda html: html.encode("latin-1"))),
    "nothing": Plant(files=NOTHING, links=tuple(NOTHING)),
    "invalid": Plant(more=Site.invalid),
    **{f"{name}: {value}": image(Route(headers={name: value}), fate) for name, value, fate in TAGS},
    **{f"meta {n} {v}": page(Route(head=HEAD.format(n, v)), ("opted_out", f"meta {n}")) for n, v in METAS},
    "meta other": page(Route(head=HEAD.format("otherbot", "noai"))),
    "page header": replace(page(Route(headers={"X-Robots-Tag": "noai"}), UNSEEN), refused={"/x.html": HEADER}),
    "tdmrep": Plant({"/img/1.png": (OK, TDMREP)}, {TDMREP_JSON: RESERVED}, elsewhere=TDMREP),
    "tdmrep and 0": Plant({"/img/1.png": (Route(headers={"TDM-Reservation": "0"}), TDMREP)}, {TDMREP_JSON: RESERVED}),
    "ai.txt png": Plant({"/x.jpg": (OK, KEPT)}, AI_PNG, elsewhere=AI_TXT, more=Site.all_images),
    "ai.txt": Plant(files={"/ai.txt": text(ALL + "Disallow: /\n")}, elsewhere=AI_TXT, more=Site.all_images),
}
