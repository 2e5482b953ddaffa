"""dsray.cli: the embedded server's verbs, and what the verbs print."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3

from dsray import cli
from runs import dsray


def test_lake_up_serves_any_s3_client_until_lake_down(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "dsray", "lake", "up"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout
        told = {}
        for line in up.stdout:
            if line.startswith("#"):
                break
            name, _, value = line.removeprefix("export ").strip().partition("=")
            told[name] = value
        client = boto3.client(
            "s3",
            endpoint_url=told["AWS_ENDPOINT_URL"],
            aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
            region_name=told["AWS_REGION"],
        )
        client.put_object(Bucket="lake", Key="hello.txt", Body=b"hello")
        listed = dsray("lake", "ls", cwd=tmp_path)
        assert listed.stdout.split() == ["5", "hello.txt"]
        assert dsray("lake", "down", cwd=tmp_path).stdout == "Stopped.\n"
        assert up.wait(timeout=20) == 0
    assert dsray("lake", "down", cwd=tmp_path).stdout == "No server of this folder is running.\n"


def test_schema_is_json_schema_of_the_recipe(capsys):
    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False and set(schema["required"]) == {"dataset", "collect"}


def test_help_imports_nothing_heavy(tmp_path):
    done = dsray("--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"ray", "torch", "pyarrow", "boto3", "pydantic", "rich", "numpy"}


def test_show_of_an_empty_lake_says_so(tmp_path):
    done = dsray("show", "--lake", f"file://{tmp_path / 'lake'}", cwd=tmp_path)
    assert done.returncode == 0 and "There is no release" in done.stdout


def test_sigterm_is_ctrl_c(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "dsray", "lake", "up"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout
        up.stdout.readline()
        time.sleep(0.2)
        os.kill(up.pid, 15)
        _, errors = up.communicate(timeout=20)
    assert up.returncode == 130 and errors.startswith("dsray: Stopped.")
