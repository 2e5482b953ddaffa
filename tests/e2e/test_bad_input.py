"""What a person did wrong gets one clear sentence and a documented exit code; nothing is half-written."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dsray.errors import LakeError, RecipeError, SourceError
from runs import dsray, recipe_with, said


def test_an_invalid_recipe_starts_nothing(recipe_file, tmp_path):
    recipe_file.write_text(recipe_file.read_text().replace("blur:", "blurr:"))
    line = said(dsray("run", recipe_file, "--lake", f"file://{tmp_path / 'lake'}", cwd=tmp_path), RecipeError.exit_code)
    assert "select.drop.blurr: unknown key; did you mean `blur`?" in line
    assert not (tmp_path / "lake").exists()


def test_an_unreachable_site(recipe_text, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    path = recipe_with(tmp_path, recipe_text, start=url)
    line = said(dsray("run", path, "--lake", f"file://{tmp_path / 'lake'}", cwd=tmp_path), SourceError.exit_code)
    assert url in line and "cannot be reached" in line
    assert not list((tmp_path / "lake").glob("stages/**/*.json"))


def test_a_lake_that_is_not_one(recipe_file, tmp_path):
    assert "ftp" in said(dsray("run", recipe_file, "--lake", "ftp://x/y", cwd=tmp_path), LakeError.exit_code)


def test_a_wrong_bucket_and_refused_credentials(recipe_file, s3_environment, tmp_path):
    line = said(
        dsray("run", recipe_file, "--lake", "s3://not-there/x", cwd=tmp_path, **s3_environment), LakeError.exit_code
    )
    assert "not-there" in line
    wrong = {**s3_environment, "AWS_SECRET_ACCESS_KEY": "wrong-secret-canary"}
    line = said(dsray("run", recipe_file, "--lake", "s3://lake/x", cwd=tmp_path, **wrong), LakeError.exit_code)
    assert "refuse" in line.lower() or "denied" in line.lower()
    assert "wrong-secret-canary" not in line


def test_an_s3_server_that_does_not_answer(recipe_file, s3_environment, tmp_path):
    gone = {**s3_environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    line = said(dsray("run", recipe_file, "--lake", "s3://lake/x", cwd=tmp_path, **gone), LakeError.exit_code)
    assert "127.0.0.1:9" in line


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lake = f"file://{tmp_path / 'lake'}"
        line = said(dsray("demo", "--port", str(port), cwd=tmp_path, DSRAY_LAKE=lake), SourceError.exit_code)
    assert str(port) in line and "--port" in line


def test_a_full_disk_is_said_and_the_next_run_goes_on(built, recipe_file, small_disk):
    url = f"file://{small_disk}/lake"
    line = said(dsray("run", recipe_file, "--lake", url, cwd=recipe_file.parent), LakeError.exit_code)
    assert "full" in line or "space" in line
    (small_disk / "ballast").unlink()
    done = dsray("run", recipe_file, "--lake", url, cwd=recipe_file.parent)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of its own of 24 MB, nearly full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges that this machine does not give")
    (folder / "ballast").write_bytes(b"0" * (24 * 2**20 - 200_000))
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_any_bytes_at_all_are_rows_with_a_reason(built):
    """The demo's gallery serves empty, cut and random payloads; see test_build."""
    assert built[2].made["select"].details["quarantine"]["undecodable"] >= 3


def test_help_names_every_verb_and_every_exit_code(tmp_path):
    text = dsray("--help", cwd=tmp_path).stdout
    for word in ("demo", "run", "plan", "show", "submit", "lake", "schema", "doctor", "130"):
        assert word in text


def test_an_unknown_verb_is_an_argument_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dsray", "rnu"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "invalid choice: 'rnu'" in done.stderr


def test_doctor_finds_a_healthy_machine_and_a_sick_lake(tmp_path):
    healthy = dsray("doctor", "--lake", f"file://{tmp_path / 'lake'}", cwd=tmp_path)
    assert healthy.returncode == 0 and "WRONG" not in healthy.stdout
    sick = dsray("doctor", "--lake", "ftp://x", cwd=tmp_path)
    assert sick.returncode == 1 and "WRONG lake" in sick.stdout
