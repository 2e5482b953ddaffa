"""checkpoints: which are kept, in which order they are found, and whose grids are shown."""

import torch

from dsray.stages.checkpoints import Checkpoints, Place, Story

LIKE = {"w": torch.zeros(2)}


def write(store, places, turns=()):
    kept = Checkpoints(store, "k" * 64)
    for attempt, step in places:
        story = Story([{"step": step}], list(turns[:attempt]))
        kept.write(Place(attempt, step), {"w": torch.full((2,), float(step))}, story, {10, 20, 30, 40})
        store.create(kept.name(Place(attempt, step), "png"), b"a grid")
    return kept


def read(kept, like=LIKE):
    said = []
    return [(place, float(state["w"][0])) for place, state in kept.readable(like, True, said.append)], said


def test_the_last_two_stay_and_the_last_two_at_anchors(store):
    kept = write(store, [(0, step) for step in (10, 20, 23, 27, 30, 33, 36)])
    assert kept.places("safetensors") == kept.places("json") == [(0, 20), (0, 30), (0, 33), (0, 36)]
    assert read(kept) == ([((0, step), step) for step in (36, 33, 30, 20)], [])
    assert kept.last().points == [{"step": 36}]


def test_a_later_attempt_is_newer_than_a_later_step(store):
    kept = write(store, [(0, 10), (0, 20), (0, 24), (1, 22)], [{"step": 25, "to": 20, "why": "it broke"}])
    assert [place for place, _ in read(kept)[0]] == [(1, 22), (0, 24), (0, 20), (0, 10)]
    assert [grid["step"] for grid in kept.grids()] == [10, 20, 22]


def test_one_of_another_model_is_said_and_taken_away(store):
    kept = write(store, [(0, 10), (0, 20)])
    found, said = read(kept, {"w": torch.zeros(3)})
    assert not found and len(said) == 2 and "step 20 is of another model" in said[0]
    assert kept.places("safetensors") == []


def test_what_other_versions_left_is_not_looked_at(store):
    kept = write(store, [(0, 10)])
    store.create(f"models/{'k' * 64}/checkpoints/000000020.safetensors", b"")
    assert [place for place, _ in read(kept)[0]] == [(0, 10)]


def test_a_story_that_cannot_be_read_is_the_one_before(store):
    kept = write(store, [(0, 10)])
    store.create(kept.name(Place(0, 20), "json"), b"[")
    assert kept.last().points == [{"step": 10}] and Checkpoints(store, "none").last() == Story()
