"""A fetch process against real sites: every row explained, nothing asked that may not be asked."""

import gzip
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from fetching import crawl, fetch, fetched, image, jobs_of, page, path_of, rounds_of, rows, start

from crawlers.owner import heard
from dsray import keys
from dsray.demo.gallery import gallery
from dsray.errors import LakeError, SourceError
from dsray.schema import FETCH_ERRORS, RAW

FETCHED = {"robots", "opted_out", "http_status", "redirects"}


def test_every_planted_defect_of_the_demo_site_gives_its_row(demo, job):
    got = crawl(job(demo))
    shown = gallery(100)
    wrong = {path: rule for path, rule in shown.plan.items() if rule in FETCHED}
    assert {path: row["error"] for path, row in got.items() if row["error"]} == wrong
    for path, row in got.items():
        if path not in wrong:
            target = next((value for name, value in shown.answers[path].headers if name == "Location"), path)
            assert row["payload"] == shown.answers[target].body
            assert row["digest"] == keys.digest(row["payload"])
            assert path_of(row["final_url"]) == target
    digits = sum(1 for row in got.values() if "number" in (row["caption"] or ""))
    assert digits == shown.digits
    assert set(shown.kept) <= got.keys() - wrong.keys()


def test_a_row_says_where_when_and_how(demo, job):
    said = job(demo)
    table = rows(said, fetch(said).end)
    assert all(set(row) == {*RAW.names, "caption"} for row in table)
    for row in table:
        evidence = json.loads(row["evidence"]) if row["error"] else None
        assert row["source"] == "web" and row["id"] == keys.row_id("web", row["url"], row["error"] or row["digest"])
        assert (
            (row["error"] in FETCH_ERRORS and evidence.keys() == {"signal", "value", "where"}) if row["error"] else True
        )
        assert (row["payload"] is None) == (row["digest"] is None) == bool(row["error"])
    plain = next(
        row for row in table if json.loads(row["headers"]).get("content-type") == "text/plain" and row["payload"]
    )
    assert plain["status"] == 200 and plain["caption"].startswith("a handwritten digit")


def test_a_finished_partition_is_not_fetched_again(site, job):
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    first = fetch(job(small.url)).end
    asked = len(small.hits)
    assert fetch(job(small.url)).end == first
    assert len(small.hits) == asked
    assert first["counts"] == {"pages": 1, "items": 1, "bytes": 1, "unchanged": 0, "errors": {}}


def test_any_bytes_are_a_payload_and_a_url_is_fetched_once(site, job):
    raw = bytes(range(256)) * 3
    answers = {
        "/": page(
            "/raw", "/empty", "/packed", links=("/two", "/raw.zip", "/blob", "http://other.invalid/", "/nothing")
        ),
        "/two": page("/raw", "/late", head='<base href="/deep/">'),
        "/raw": image(raw),
        "/empty": image(b""),
        "/packed": image(gzip.compress(raw), Content_Encoding="gzip"),
        "/blob": image(raw),
        "/nothing": (200, {"Content-Type": "text/html"}, b""),
        "/late": image(b"late"),
    }
    small = site(answers)
    got = crawl(job(small.url))
    assert {path: row["payload"] for path, row in got.items()} == {
        "/raw": raw, "/empty": b"", "/packed": raw, "/late": b"late"
    }  # fmt: skip
    assert got["/raw"]["page"] == small.url and got["/raw"]["caption"] == "digit of /raw"
    assert small.hits.count("/raw") == 1
    assert "/raw.zip" not in small.hits


def test_opted_out_payloads_are_not_downloaded_and_robots_are_obeyed(site, job):
    huge = (200, {"X-Robots-Tag": "noai", "Content-Length": "19000000"}, b"")
    answers = {
        "/robots.txt": (200, {}, b"User-agent: dsray\nDisallow: /no\n"),
        "/": page(
            "/huge", "/no.png", "/other.png", "/ours.png", links=("/meta", "/page", "/no.html", "/tdm", "/follow")
        ),
        "/huge": huge,
        "/other.png": image(b"other", X_Robots_Tag="otherbot: noai"),
        "/ours.png": image(b"ours", X_Robots_Tag="dsray: noai"),
        "/meta": page("/m.png", head='<meta name="robots" content="noimageai">', links=("/after",)),
        "/tdm": page("/t.png", head='<meta name="tdm-reservation" content="1">'),
        "/page": (200, {"Content-Type": "text/html", "X-Robots-Tag": "noai"}, page("/p.png")[2]),  # type: ignore[index]
        "/follow": page("/f.png", head='<meta name="robots" content="nofollow">', links=("/never",)),
        "/f.png": image(b"f"),
        "/after": page("/a.png"),
        "/a.png": image(b"a"),
    }
    small = site(answers)
    got = crawl(job(small.url, user_agent="dsray/1 (+http://example.org)"))
    refused = {path: row["error"] for path, row in got.items() if row["error"]}
    assert refused == {
        "/huge": "opted_out", "/ours.png": "opted_out", "/m.png": "opted_out", "/t.png": "opted_out",
        "/page": "opted_out", "/no.png": "robots", "/no.html": "robots",
    }  # fmt: skip
    assert {path for path, row in got.items() if row["payload"]} == {"/other.png", "/f.png", "/a.png"}
    assert json.loads(got["/m.png"]["evidence"]) == {
        "signal": "meta robots", "value": "noimageai", "where": small.url + "meta"
    }  # fmt: skip
    assert not {"/no.png", "/no.html", "/m.png", "/t.png", "/p.png", "/never"} & set(small.hits)
    assert small.agents == {"dsray/1 (+http://example.org)"}


def test_opt_outs_are_kept_as_headers_when_the_recipe_says_so(site, job):
    small = site({"/": page("/a.png"), "/a.png": image(b"A", X_Robots_Tag="noai")})
    got = crawl(job(small.url, respect_opt_out=False))
    assert got["/a.png"]["payload"] == b"A"
    assert json.loads(got["/a.png"]["headers"])["x-robots-tag"] == "noai"


def test_unreadable_robots_mean_no(site, job):
    small = site({"/robots.txt": (503, {}, b""), "/": page("/a.png"), "/a.png": image(b"A")})
    got = crawl(job(small.url))
    assert {path: row["error"] for path, row in got.items()} == {"/": "robots"}
    assert set(small.hits) == {"/robots.txt"}


def test_bombs_and_long_answers_are_too_large_and_broken_ones_are_rows(site, job):
    zeros = gzip.compress(bytes(30_000_000))
    answers = {
        "/": page("/bomb", "/long", "/liar", "/broken", "/short", "/good", "http://[::1", "data:image/png;base64,AAAA"),
        "/bomb": image(zeros, Content_Encoding="gzip"),
        "/long": image(bytes(3_000_000)),
        "/liar": (200, {"Content-Length": "900000000000"}, b"x"),
        "/broken": image(b"\x1f\x8bnot gzip at all", Content_Encoding="gzip"),
        "/short": (200, {"Content-Length": "50", "Connection": "close"}, b"cut"),
        "/good": image(b"G"),
    }
    got = crawl(job(site(answers).url, max_mb=2))
    assert {path: row["error"] for path, row in got.items()} == {
        "/bomb": "too_large", "/long": "too_large", "/liar": "too_large", "/broken": "invalid", "/short": "unreachable",
        "/good": None, "invalid:http://[::1": "invalid", "data:image/png;base64,AAAA": "invalid",
    }  # fmt: skip


def test_redirects_end_somewhere(site, job):
    other = site({"/": page("/away.png"), "/away.png": image(b"away")})
    moved = lambda to, status=302: (status, {"Location": to}, b"")  # noqa: E731
    answers = {
        "/": page("/one", "/loop", "/file", "/cdn", links=("/off", "/gone")),
        "/one": moved("/two"),
        "/two": moved("/three", 308),
        "/three": image(b"3"),
        "/loop": moved("/loop"),
        "/file": moved("file:///etc/passwd"),
        "/cdn": moved(other.url + "away.png"),
        "/off": moved(other.url),
    }
    got = crawl(job(site(answers).url))
    assert {path: row["error"] or row["payload"] for path, row in got.items()} == {
        "/one": b"3", "/loop": "redirects", "/file": "redirects", "/cdn": b"away", "/off": "redirects",
        "/gone": "http_status",
    }  # fmt: skip
    assert "/" not in other.hits


def test_a_start_page_may_move_to_another_host(site, job):
    target = site(
        {
            "/new": page("/a.png", links=("/more",)),
            "/a.png": image(b"A"),
            "/more": page("/b.png"),
            "/b.png": image(b"B"),
        }
    )
    old = site({"/": (301, {"Location": target.url + "new"}, b"")})
    assert {path for path, row in crawl(job(old.url)).items() if row["payload"]} == {"/a.png", "/b.png"}


def test_a_server_error_is_asked_three_times_and_may_recover(site, job):
    tries = {"/bad": 0, "/flaky": 0}

    def flaky(path, good_from):
        def answer():
            tries[path] += 1
            return image(b"F") if tries[path] >= good_from else image(b"", 503)

        return answer

    got = crawl(job(site({"/": page("/bad", "/flaky"), "/bad": flaky("/bad", 99), "/flaky": flaky("/flaky", 3)}).url))
    assert got["/bad"]["error"] == "http_status" and got["/bad"]["status"] == 503
    assert got["/flaky"]["payload"] == b"F"
    assert tries == {"/bad": 3, "/flaky": 3}


def test_budgets_end_a_crawl(site, job):
    answers = {f"/{i}": page(f"/{i}.png", links=(f"/{i + 1}",)) for i in range(20)}
    answers |= {f"/{i}.png": image(bytes([i]) * 1000) for i in range(20)}
    chain = site({**answers, "/": page(links=("/0",))})
    ends = [
        fetch(job(chain.url, source=f"k{i}", budget=budget)).end
        for i, budget in enumerate([{"pages": 5}, {"depth": 3}])
    ]
    assert [(end["counts"]["pages"], end["counts"]["items"], end["left"]) for end in ends] == [(5, 4, 1), (4, 3, 0)]
    end = fetch(job(chain.url, source="mb", budget={"mb": 0.0025}, concurrency=1)).end
    assert 2 < end["counts"]["items"] < 20 and end["left"] > 0


SPELLINGS = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]


def test_this_machine_is_not_asked_unless_allowed(site, job):
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    said = fetch(job(*(f"http://{host}:{small.port}/" for host in SPELLINGS), allow_private=False))
    assert said.code == 4 and "allow_private" in said.error["error"][1]
    assert small.hits == []


PUBLIC_127_0_0_2 = """
import sys
import crawlers.middlewares.address as address
real = address.forbidden
address.forbidden = lambda text, allowed: text != "127.0.0.2" and real(text, allowed)
from crawlers.fetch import main
sys.exit(main())
"""
"""A fetch that takes 127.0.0.2 for a public address, so that a site on it can play the attacker."""


def test_a_public_site_cannot_lead_us_to_private_addresses(site, job):
    private = site({f"/{i}": image(b"secret") for i in range(20)}, "127.0.0.1")
    targets = [f"http://{host}:{private.port}/{i}" for i, host in enumerate(SPELLINGS)]
    hops = {f"/hop{i}": (302, {"Location": target}, b"") for i, target in enumerate(targets)}
    metadata = "http://169.254.169.254/latest/meta-data/"
    public = site({"/": page(*targets, *hops, metadata, "/good"), "/good": image(b"G"), **hops}, "127.0.0.2")
    said = job(public.url, allow_private=False)
    found = rows(said, rounds_of(said, PUBLIC_127_0_0_2))
    assert {row["url"]: row["error"] for row in found} == {
        **dict.fromkeys(targets, "address"),
        **{public.url + hop[1:]: "address" for hop in hops},
        metadata: "address",
        public.url + "good": None,
    }
    assert private.hits == []


def test_metadata_addresses_are_refused_even_when_private_ones_are_allowed(site, job):
    small = site({"/": page("http://169.254.169.254/x", "http://0.0.0.0/y", "/a.png"), "/a.png": image(b"A")})
    assert {path: row["error"] for path, row in crawl(job(small.url)).items()} == {
        "/x": "address", "/y": "address", "/a.png": None
    }  # fmt: skip


def test_a_site_that_is_down_is_an_error_and_is_asked_again(site, job):
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    small.close()
    said = fetch(job(small.url))
    assert said.code == 4 and said.error["kind"] == "UnreachedError" and small.url in said.error["error"][0]
    assert fetch(job("http://no-such-host.invalid/", source="dns")).code == 4


def test_certificates_are_verified(job, tls_site):
    said = fetch(job(tls_site.url))
    assert said.code == 4 and tls_site.hits == []


def test_a_lake_that_cannot_be_written_is_said_in_one_sentence(site, job, tmp_path):
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    (asked,) = jobs_of(job(small.url))
    said = fetched({**asked, "folder": f"{asked['list']}/x"})  # a folder where a file is
    assert said.code == 3 and said.error["kind"] == "LakeError"


def test_a_lake_that_fails_while_the_spider_reads_what_there_is_to_ask_is_no_defect(site, job, tmp_path):
    (asked,) = jobs_of(job(site({"/": page()}).url))
    (tmp_path / "lake" / asked["seen"]).unlink()
    said = fetched(asked)
    assert said.code == 3 and len(said.err.splitlines()) == 1
    error = heard(said.err, SourceError(said.err))
    assert type(error) is LakeError and asked["seen"] in error.wrong


def test_killed_at_any_point_and_run_again_every_row_is_there_once(site, job, tmp_path):
    def slow(path):
        def answer():
            time.sleep(0.02)
            return image(path.encode()) if "3" not in path else image(b"", 404)

        return answer

    pictures = [f"/{i}.png" for i in range(120)]
    pages = {f"/page/{i}": page(*pictures[30 * i : 30 * i + 40], links=(f"/page/{i + 1}",)) for i in range(4)}
    many = site({"/": page(links=("/page/0",)), **pages, **{path: slow(path) for path in pictures}})
    whole = {row["id"] for row in crawl(job(many.url, concurrency=16)).values()}
    assert len(whole) == len(pictures) + 1
    tried = job(many.url, lake=f"file://{tmp_path}/other", commit_s=0.1, concurrency=2)
    (asked,) = jobs_of(tried)
    folder = tmp_path / "other" / asked["folder"]
    for segments in (1, 3):
        child = start(asked)
        deadline = time.monotonic() + 30
        while len(list(folder.glob("segment-*.json"))) < segments and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.kill()
        child.communicate()
        assert not (folder / "done.json").exists()
    end = fetched(asked).end
    ids = [row["id"] for row in rows(tried, end)]
    assert len(ids) == len(set(ids))
    assert set(ids) == whole
    assert end["counts"]["items"] + sum(end["counts"]["errors"].values()) == len(whole)
    assert len(list(folder.glob("segment-*.json"))) > 3


def test_two_processes_on_one_partition_do_not_both_commit(site, job):
    def slow():
        time.sleep(0.05)
        return image(b"x")

    many = site({"/": page(*(f"/{i}.png" for i in range(40))), **{f"/{i}.png": slow for i in range(40)}})
    said = job(many.url, commit_s=0.2, concurrency=1)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(fetch, [said, said]))
    assert 4 in {one.code for one in both} <= {0, 4}
    ids = [row["id"] for row in rows(said, fetch(said).end)]
    assert len(ids) == len(set(ids)) == 40


def test_no_process_outlives_its_owner(site, job):
    def slow():
        time.sleep(1)
        return image(b"x")

    many = site({"/": page(*(f"/{i}.png" for i in range(99))), **{f"/{i}.png": slow for i in range(99)}})
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, json.dumps(jobs_of(job(many.url))[0])], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    child = int(owner.stdout.readline())
    deadline = time.monotonic() + 30
    while "/0.png" not in many.hits:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert alive(child) and not listening(child)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


OWNER = """
import subprocess, sys, time
command = [sys.executable, "-m", "crawlers.fetch"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
child.stdin.write(sys.argv[1] + "\\n")
child.stdin.flush()
print(child.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Is the process there, and not only waiting to be buried?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def listening(pid: int) -> set[str]:
    """The TCP ports that a process listens on, as inodes of its sockets."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {fields[9] for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in links}


def test_a_crawl_delay_is_kept(site, job):
    times = []

    def timed():
        asked = time.monotonic()
        time.sleep(0.2)
        times.append((asked, time.monotonic()))
        return image(b"x")

    pictures = [f"/{i}.png" for i in range(4)]
    answers = {"/robots.txt": (200, {}, b"User-agent: *\nCrawl-delay: 0.3\n"), "/": page(*pictures)}
    crawl(job(site({**answers, **dict.fromkeys(pictures, timed)}).url))
    assert min(asked - answered for (_, answered), (asked, _) in pairwise(times)) > 0.2


def test_nothing_secret_is_printed(site, job, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-5f1c")
    small = site({"/": page("/a.png"), "/a.png": image(b"A")})
    said = fetch(job(small.url))
    assert said.code == 0 and "canary" not in said.err + json.dumps(said.out)
