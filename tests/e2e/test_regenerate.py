"""dsray regenerate, as a person runs it: three recipes on one lake, of which one has no site; and stopped by Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fetching import AGENT, Site, image, page

from rows import drawing, png
from runs import dsray

PICTURES = [f"/{at}.png" for at in range(30)]

RECIPE = """dataset: {name}
collect:
  web:
    crawl: {{start: [{start}], allow_private: true, user_agent: "{agent}", budget: {{rounds: 2}},
            item: {{image: "figure img::attr(src)", caption: "figcaption::text"}}}}
label: [{{pattern: {{column: caption, regex: "digit of (.*)"}}}}]
select: {{drop: {{contrast: {{min: {least}}}}}, split: {{train: 1, validation: 0, test: 0}}}}
render: {{side: 32, mode: L}}
"""


@pytest.fixture
def pictures():
    made = {path: image(png(drawing(seed, 48))) for seed, path in enumerate(PICTURES)}
    server = Site({"/": page(*PICTURES), **made})
    yield server
    server.close()


def write(folder: Path, name: str, start: str, least: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, start=start, least=least, agent=AGENT))
    return path


def states(stdout: str) -> dict[str, str]:
    """Dataset → its state in the last table."""
    table = stdout.split("what changed")[1]
    return {line.split()[0]: line for line in table.splitlines() if re.match(r"\w", line)}


def test_three_recipes_on_one_lake(pictures, tmp_path):
    recipes = tmp_path / "recipes"
    write(recipes, "all", pictures.url)
    write(recipes, "bright", pictures.url, 40.0)
    write(recipes, "gone", "http://127.0.0.1:9/")
    lake = ["--lake", f"file://{tmp_path / 'lake'}", "--cpus", "2"]
    first = dsray("regenerate", recipes, *lake, cwd=tmp_path)
    assert first.returncode == 4 and "Traceback" not in first.stderr, first.stdout
    told = states(first.stdout)
    assert "made v1" in told["all"] and "30 rows, the first version" in told["all"]
    assert "made v1" in told["bright"] and "the first version" in told["bright"]
    assert "failed" in told["gone"] and "gone: " in first.stdout
    asked = Counter(pictures.hits)
    assert {path: asked[path] for path in PICTURES} == dict.fromkeys(PICTURES, 1), "two recipes, one crawl"
    steps = [line.split() for line in first.stdout.split("what changed")[0].splitlines()]
    made = [line[1] for line in steps if line[:1] in (["all"], ["bright"]) and line[-1] == "s"]
    assert Counter(made)["collect"] == Counter(made)["measure"] == Counter(made)["label"] == 1

    two = [recipes / "all.yaml", recipes / "bright.yaml"]
    again = dsray("regenerate", *two, *lake, cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert again.returncode == 0, again.stderr
    assert all("up to date v1" in line for line in states(again.stdout).values())
    imported = {line.rsplit("|", 1)[-1].strip() for line in again.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"ray", "torch", "scrapy", "boto3"}


def test_plan_says_what_it_takes_and_nothing_to_do_is_0(built, recipe_file, tmp_path):
    lake = ["--lake", f"file://{built[0]}"]
    done = dsray("plan", recipe_file, *lake, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("Nothing to do.\n"), done.stderr
    todo = dsray("plan", recipe_file, *lake, "--set", "render.side=24", cwd=tmp_path)
    assert todo.returncode == 10
    assert re.search(r"Would make up to [\d,]+ rows in \d+ shards, [\d.]+ [kM]B.*, in \d steps", todo.stdout), (
        todo.stdout
    )
    told = dsray("plan", recipe_file, *lake, "--set", "render.side=24", "--json", cwd=tmp_path)
    assert told.returncode == 10
    plan = json.loads(told.stdout)
    steps = {step["name"]: step for step in plan["steps"]}
    assert (steps["measure"]["state"], steps["render"]["state"], steps["release"]["state"]) == (
        "reuse",
        "make",
        "unknown",
    )
    assert steps["render"]["rows"] == built[2].made["collect"].counts["in"] and not plan["up_to_date"]
    new = dsray("plan", recipe_file, "--lake", f"file://{tmp_path / 'lake'}", cwd=tmp_path)
    assert "No estimate: this dataset was never made here." in new.stdout


def test_a_job_on_a_cluster_needs_a_lake_that_all_reach(built, recipe_file, tmp_path):
    command, plain = [sys.executable, "-m", "jobs.regenerate", recipe_file], {**os.environ}
    plain.pop("DSRAY_LAKE", None)
    without = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False)
    assert without.returncode == 3 and "A cluster needs a lake" in without.stderr
    done = subprocess.run(
        [*command, "--lake", f"file://{built[0]}"], cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "up to date v1" in states(done.stdout)["digits"]


def test_ctrl_c_stops_all_and_says_so(pictures, tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "recipes", name, pictures.url, 1.0 if name == "one" else 2.0)
    command = [sys.executable, "-m", "dsray", "regenerate", "recipes", "--lake", f"file://{tmp_path / 'lake'}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    ) as run:  # fmt: skip
        assert run.stdout and run.stderr
        for line in run.stdout:
            if re.match(r"\w+\s+collect", line):
                run.send_signal(signal.SIGINT)
                break
        rest, said = run.stdout.read(), run.stderr.read()
        assert run.wait(60) == 130, said
    assert "dsray: Stopped. What is done is kept: run the same command to go on." in said
    told = " ".join(states(rest).values())  # one that was at its end may have got there
    assert "stopped" in told and "failed" not in told, rest
    again = dsray("regenerate", "recipes", "--lake", f"file://{tmp_path / 'lake'}", "--cpus", "2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    asked = Counter(pictures.hits)
    assert {path: asked[path] for path in PICTURES} == dict.fromkeys(PICTURES, 1)
