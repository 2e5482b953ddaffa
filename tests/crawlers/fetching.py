"""Real sites, and real fetch processes that crawl them."""

import json
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from crawlers import rounds
from crawlers.owner import heard
from crawlers.rounds import Crawl
from dsray import collection, keys
from dsray.errors import DsrayError, SourceError, UnreachedError
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import open_store

Job = dict[str, Any]
Row = dict[str, Any]
AGENT = "dsray/1 (+http://example.org)"
ITEM = {"image": "figure img::attr(src)", "caption": "figcaption::text"}


class Said(NamedTuple):
    """What a fetch process said."""

    code: int
    out: list[dict[str, Any]]
    err: str

    @property
    def end(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        done: dict[str, Any] = self.out[-1]["done"]
        return done

    @property
    def error(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        return told


Answer = tuple[int, dict[str, str], bytes] | Callable[[], tuple[int, dict[str, str], bytes]]


class Site:
    """A small site on this machine: path → answer, and the paths that were asked.

    With `etags` it says what an answer's version is, and 304 to who has that already.
    """

    def __init__(self, answers: dict[str, Answer], host: str = "127.0.0.1", etags: bool = False, port: int = 0) -> None:
        self.hits: list[str] = []
        self.unchanged: list[str] = []  # that were answered with 304
        self.agents: set[str] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                site.hits.append(self.path)
                site.agents.add(self.headers["User-Agent"])
                answer = answers.get(self.path, (404, {}, b"not found"))
                status, headers, body = answer() if callable(answer) else answer
                if etags and status == 200:
                    headers = {**headers, "ETag": f'"{keys.digest(body)}"'}
                    if self.headers["If-None-Match"] == headers["ETag"]:
                        site.unchanged.append(self.path)
                        status, body = 304, b""
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((host, port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{host}:{self.port}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def page(*sources: str, head: str = "", links: tuple[str, ...] = ()) -> Answer:
    """An HTML page with a figure for each source."""
    figures = "".join(f'<figure><img src="{s}"><figcaption>digit of {s}</figcaption></figure>' for s in sources)
    ways = "".join(f'<a href="{link}">x</a>' for link in links)
    return 200, {"Content-Type": "text/html"}, f"<html><head>{head}</head><body>{figures}{ways}</body></html>".encode()


def image(body: bytes, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "image/png", **named}, body


def start(job: Job, code: str = "") -> subprocess.Popen[str]:
    """A fetch process that has read its job."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "crawlers.fetch"])]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert child.stdin
    child.stdin.write(json.dumps(job) + "\n")
    child.stdin.flush()
    return child


def crawl_of(job: Job, workers: int = 2) -> Crawl:
    """The crawl that a test's few words mean."""
    words = dict(job)
    lake, source, opted_out, number, recrawl = (
        words.pop(name, otherwise)
        for name, otherwise in (("lake", ""), ("source", "web"), ("respect_opt_out", True), ("number", 0),
                                ("recrawl", "all"))
    )  # fmt: skip
    model = collection.Crawl.model_validate(words)
    source_fields = sorted(model.fields())
    params = model.model_dump(mode="json")
    return Crawl(open_store(lake), source, params, source_fields, opted_out, number, recrawl, workers)


class _Chosen(Exception):
    """Ends a crawl before its first fetch."""


def jobs_of(job: Job, workers: int = 1) -> list[Job]:
    """What the fetch processes of the first round are asked to do."""

    def stop(jobs: list[Job]) -> Any:
        raise _Chosen(jobs)

    try:
        rounds.run(crawl_of(job, workers), stop)
    except _Chosen as chosen:
        found: list[Job] = chosen.args[0]
        return [{**one, "insist": False} for one in found]
    raise AssertionError("the crawl was at its end")


def fetch(job: Job, code: str = "") -> Said:
    """Runs the one fetch of a first round to its end, with its standard input open all the time."""
    (only,) = jobs_of(job)
    return fetched(only, code)


def fetched(job: Job, code: str = "") -> Said:
    """Runs a fetch process to its end."""
    with start(job, code) as child:
        assert child.stdout and child.stderr
        killer = threading.Timer(60, child.kill)
        killer.start()
        out = [json.loads(line) for line in child.stdout]
        err = child.stderr.read()
        code_ = child.wait()
        killer.cancel()
    return Said(code_, out, err)


def rounds_of(job: Job, code: str = "") -> dict[str, Any]:
    """A crawl, in as many rounds as it takes; its fetch processes run one after the other."""

    def fetch_all(jobs: list[Job]) -> list[Any]:
        ends: list[Any] = []
        for one in jobs:
            said = fetched(one, code)
            if said.code == 0:
                ends.append(said.end)
            else:
                error = heard(said.err, SourceError(said.err))
                if not isinstance(error, UnreachedError):
                    raise error
                ends.append(error)
        return ends

    return rounds.run(crawl_of(job), fetch_all)


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["crawlers.fetch", "crawlers.settings", "crawlers.spider", "crawlers.middlewares.redirects", "dsray.lake.files",
     "crawlers.middlewares.address", "scrapy.core.downloader.handlers.http11", "scrapy.extensions.throttle",
     "pyarrow.dataset", "pandas"]
)  # fmt: skip


def run_in_fork(job: Job, answer: Any) -> None:
    """A fetch process's work."""
    from crawlers import fetch as process
    from crawlers.job import parse
    from crawlers.ledger import Ledger

    process._PULSE_S = 0.02
    try:
        parsed = parse(json.dumps(job))
        ledger = Ledger(open_store(parsed.lake), parsed)
        answer.send((ledger.end() or process.crawl(parsed, ledger), None))
    except DsrayError as error:
        answer.send((None, error))


def quick(jobs: list[Job]) -> list[Any]:
    """Runs fetches, each in a fork that has imported everything: nine tenths of a small fetch are imports."""
    ends = []
    for job in jobs:
        here, there = _FORKS.Pipe(duplex=False)
        child = _FORKS.Process(target=run_in_fork, args=(job, there), daemon=True)
        child.start()
        there.close()
        assert here.poll(60), "a fetch takes too long"
        end, error = here.recv()
        child.join(10)
        if error is not None and not isinstance(error, UnreachedError):
            raise error
        ends.append(end or error)
    return ends


def crawled(job: Job, **more: Any) -> dict[str, Any]:
    """A crawl to its end, quickly."""
    return rounds.run(crawl_of({**job, **more}), quick)


def crawled_rows(job: Job, end: dict[str, Any] | None = None) -> dict[str, Row]:
    """URL → its only raw row, of a crawl to its end."""
    found = rows(job, end or crawled(job))
    assert len({row["url"] for row in found}) == len(found)
    return {row["url"]: row for row in found}


def news(job: Job, before: dict[str, Any], end: dict[str, Any]) -> list[Row]:
    """The rows that a recrawl made."""
    old = {receipt["name"] for receipt in before["shards"]}
    return rows(job, {"shards": [receipt for receipt in end["shards"] if receipt["name"] not in old]})


def rows(job: Job, end: dict[str, Any]) -> list[Row]:
    """All raw rows that a finished fetch or crawl names, whole."""
    store = open_store(job["lake"])
    read = [shards.read(store, Receipt(**receipt)).to_pylist() for receipt in end["shards"]]
    return [row for table in read for row in table]


def crawl(job: Job, code: str = "") -> dict[str, Row]:
    """URL path → raw row, of a crawl that runs to its end."""
    found = rows(job, rounds_of(job, code))
    assert len({row["id"] for row in found}) == len(found)
    return {path_of(row["url"]): row for row in found}


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3] if url.startswith("http") else url
