"""background: one piece at a time, errors met by who comes next, copies that stay what they were."""

import threading

import pytest
import torch

from dsray.models.background import Background, copied


def test_work_is_done_in_order_one_at_a_time():
    done, running = [], threading.Lock()

    def work(number):
        assert running.acquire(blocking=False), "two at once"
        done.append(number)
        running.release()

    with Background() as behind:
        for number in range(20):
            behind.do(lambda number=number: work(number))
    assert done == list(range(20))


def fail():
    raise ValueError("broken")


def test_an_error_meets_whoever_comes_next_or_the_end():
    for meet in (lambda behind: behind.do(print), lambda behind: behind.wait(), lambda behind: None):
        with pytest.raises(ValueError, match="broken"), Background() as behind:
            behind.do(fail)
            meet(behind)
    with pytest.raises(KeyError), Background() as behind:  # the first error is the one to be told
        behind.do(fail)
        raise KeyError


def test_a_copy_stays_as_it_was():
    tensors = {"a": torch.ones(3, requires_grad=True), "b": torch.arange(4)}
    copy = copied(tensors)
    with torch.no_grad():
        tensors["a"].zero_()
    tensors["b"] += 1
    assert copy()["a"].tolist() == [1, 1, 1] and copy()["b"].tolist() == [0, 1, 2, 3]
