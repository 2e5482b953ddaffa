"""A process of its own: its answer, its error, its death."""

import faulthandler
import os
from functools import partial

import pytest

from dsray.errors import LakeError
from dsray.stages.child import in_child

STARTS = ("fork", "spawn")


def broken() -> None:
    raise LakeError("The lake is dry.", "Wait for rain.")


def aborted() -> None:
    faulthandler.disable()  # pytest's, which would print the stacks of both processes
    os.abort()


@pytest.mark.parametrize("start", STARTS)
def test_its_answer_and_its_error_come_back(start):
    assert in_child(divmod, 7, 2, start=start, seconds=60) == (3, 1)
    assert in_child(os.getpid, start=start, seconds=60) != os.getpid()
    with pytest.raises(LakeError, match=r"The lake is dry\."):
        in_child(broken, start=start, seconds=60)


@pytest.mark.parametrize("start", STARTS)
def test_its_death_is_no_answer(start):
    assert in_child(partial(os._exit, 9), start=start, seconds=60) is None
    assert in_child(aborted, start=start, seconds=60) is None


def test_it_is_given_up_after_its_time():
    assert in_child(os.read, os.pipe()[0], 1, start="fork", seconds=0.3) is None
