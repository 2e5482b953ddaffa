"""The mailbox keeps news until it is taken, and never more than its limit."""

import pytest
import ray

from dsray.engine.mailbox import Mailbox


@pytest.mark.usefixtures("ray_session")
def test_news_is_taken_once_and_the_oldest_goes_first():
    mailbox = Mailbox.remote(limit=3)
    ray.get([mailbox.post.remote(number) for number in range(5)])
    assert ray.get(mailbox.take.remote()) == [2, 3, 4]
    assert ray.get(mailbox.take.remote()) == []
    ray.kill(mailbox)
