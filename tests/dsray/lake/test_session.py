"""Which lake is opened, and that the environment is left as it was."""

import os
from pathlib import Path

import psutil
import pytest

from dsray.errors import LakeError
from dsray.lake.session import opened
from dsray.lake.store import Store
from killing import line_of, victims


def test_without_an_address_the_embedded_server_of_the_folder_is_opened(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("DSRAY_LAKE", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), opened(None, tmp_path) as store:
        assert store.url == "s3://lake"
        assert store.create("x", b"1")
        raise ZeroDivisionError
    assert dict(os.environ) == before
    with opened(None, tmp_path) as store:
        assert store.read("x") == b"1"


def test_a_server_that_was_killed_is_told_as_that_and_comes_back(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("DSRAY_LAKE", raising=False)
    told = r"The embedded S3 server of .* was ended. Run the same command"
    with pytest.raises(LakeError, match=told), opened(None, tmp_path) as store:
        store.create("x", b"1")
        (server,) = (p for p in victims(psutil.Process(), "server") if str(tmp_path) in line_of(p))
        server.kill()
        store.read("x")
    with opened(None, tmp_path) as store:
        assert store.read("x") == b"1"


def test_an_address_is_opened_and_goes_before_the_environment(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DSRAY_LAKE", f"file://{tmp_path}/environment")
    with opened(None) as store:
        assert store.url.endswith("/environment")
    with opened(f"file://{tmp_path}/given") as store:
        assert store.url.endswith("/given")


def test_a_lake_that_cannot_be_used_is_refused_at_once(s3: Store):
    with pytest.raises(LakeError, match="no bucket"), opened("s3://elsewhere"):
        pass
