"""One decode of a payload: whatever the bytes do, they end as a row."""

import ctypes
import faulthandler
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsray.errors import RecipeError
from dsray.kinds import Undecodable, kind
from dsray.stages import decode
from dsray.stages.decode import Form, Seen, careful_look, looks, seen
from rows import drawing, png

SPEC = {"side": 28, "mode": "L", "format": "png", "fit": "pad"}
IMAGE = kind("image")


def like(image: Any = IMAGE, **members: Callable[..., Any]) -> Any:
    """A kind with some members of its own."""
    return SimpleNamespace(decode=members.get("decode", image.decode), measure=members.get("measure", image.measure),
                           render=members.get("render", image.render))  # fmt: skip


def test_a_payload_is_decoded_once() -> None:
    times = []

    def counted(payload: bytes) -> Any:
        times.append(payload)
        return IMAGE.decode(payload)

    payload = png(drawing(1))
    both = seen(payload, like(decode=counted), {}, SPEC)
    assert times == [payload]
    assert both.facts == IMAGE.measure(IMAGE.decode(payload))
    assert both.form == Form(*IMAGE.render(IMAGE.decode(payload), SPEC))


@pytest.mark.parametrize("careful", [False, True])
def test_only_what_is_asked_for_is_made(careful: bool) -> None:
    payloads = [png(drawing(1)), b"x", None]
    facts, forms, both = (looks(payloads, IMAGE, *asked, careful) for asked in (({}, None), (None, SPEC), ({}, SPEC)))
    assert [one.form for one in facts] == [one.facts for one in forms] == [None] * 3
    assert both == [Seen(one.facts, other.form) for one, other in zip(facts, forms, strict=True)]
    assert [one.form.error for one in forms if one.form] == [None, "not_an_image", "empty"]
    assert [(one.facts or {}).get("error") for one in facts] == [None, "not_an_image", "empty"]


def test_a_signal_that_fails_costs_no_form_and_a_form_that_fails_no_facts() -> None:
    def broken(*_: object) -> Any:
        raise MemoryError

    payload = png(drawing(1))
    whole = seen(payload, IMAGE, {}, SPEC)
    assert seen(payload, IMAGE, {"own": broken}, SPEC) == Seen({"error": "failed: MemoryError"}, whole.form)
    assert seen(payload, like(render=broken), {}, SPEC) == Seen(whole.facts, Form(error="failed: MemoryError"))
    failed = Seen({"error": "failed: MemoryError"}, Form(error="failed: MemoryError"))
    assert seen(payload, like(decode=broken), {}, SPEC) == failed


@pytest.mark.parametrize("look", [seen, careful_look])
def test_what_a_user_must_mend_about_the_form_is_raised(look: Callable[..., Seen]) -> None:
    def wrong(*_: object) -> Any:
        raise RecipeError("render: wrong.", "Mend it.")

    with pytest.raises(RecipeError, match=r"render: wrong\."):
        look(png(drawing(1)), like(render=wrong), {}, SPEC)


def test_reasons_are_the_kinds_own() -> None:
    def refused(payload: bytes) -> Any:
        raise Undecodable("blank")

    assert seen(b"", like(decode=refused), {}, SPEC) == Seen({"error": "blank"}, Form(error="blank"))


CRASHED = Seen({"error": "crashed"}, Form(error="crashed"))


def test_a_row_that_kills_its_process_is_a_crashed_row() -> None:
    def deadly(payload: bytes) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    assert careful_look(b"x", like(decode=deadly), {}, SPEC) == CRASHED
    assert careful_look(b"x", like(decode=deadly), None, SPEC) == Seen(None, Form(error="crashed"))


@pytest.mark.parametrize("member", ["decode", "measure", "render"])
def test_a_deadly_row_among_others_is_one_crashed_row(member: str) -> None:
    def deadly(what: Any, *asked: Any) -> Any:
        if what == b"deadly" or getattr(what, "width", 0) == 13:
            faulthandler.disable()
            ctypes.string_at(0)  # a segmentation fault, as in a native decoder
        return getattr(IMAGE, member)(what, *asked)

    payloads = [png(drawing(seed)) for seed in range(3)]
    bad = b"deadly" if member == "decode" else png(drawing(1, 13))
    found = looks([payloads[0], bad, *payloads[1:]], like(**{member: deadly}), {}, SPEC, careful=True)
    assert found.pop(1) == CRASHED
    assert found == looks(payloads, IMAGE, {}, SPEC, careful=False)


def test_a_row_that_hangs_is_a_crashed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_ROW_LIMIT_S", 0.3)
    assert careful_look(b"x", like(decode=lambda payload: threading.Event().wait(60)), {}, SPEC) == CRASHED


def test_a_row_that_takes_all_memory_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_ROW_LIMIT_BYTES", 2**28)

    def taking(size: int) -> Any:
        return like(decode=lambda payload: bytes(size), measure=lambda decoded, own: {"error": str(len(decoded))})

    with mmap.mmap(-1, 2**36, flags=mmap.MAP_PRIVATE | 0x4000):  # MAP_NORESERVE: mapped, as Ray's store is, and unused
        assert careful_look(b"x", taking(2**29), {}, None).facts == {"error": "failed: MemoryError"}
        assert careful_look(b"x", taking(2**20), {}, None).facts == {"error": str(2**20)}


def test_a_limit_of_memory_that_stands_already_is_kept() -> None:
    """Whoever has set a hard limit, as a batch system does, is not overruled, and the row is read all the same."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35));"
        "from dsray.kinds import kind; from dsray.stages.decode import careful_look; from rows import drawing, png;"
        "assert careful_look(png(drawing(1)), kind('image'), None, kind('image').Render().model_dump()).form.media"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])
