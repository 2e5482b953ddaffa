"""crawlers.update: one record a key, the right one, in however many buckets, as a slow reference finds it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from invented import known_ones, logs

from crawlers.known import AGAIN, DONE, HELD, ITEM, NEW, Known, records, table
from crawlers.update import BUCKET_ROWS, buckets_for, split, update

Records = list[Known]


def slow(known: Records, learned: list[Records]) -> Records:
    """`update`, key by key."""
    logged = [one for log in learned for one in log]
    return [
        _of_key([one for one in known if one.key == key], [one for one in logged if one.key == key])
        for key in sorted({one.key for one in (*known, *logged)})
    ]


def _of_key(known: Records, logged: Records) -> Known:
    tries = [one for one in logged if one.state in (AGAIN, DONE)]
    finds = [one for one in logged if one.state == NEW]
    settled = [one for one in known if one.state != HELD]
    best = [*tries[::-1], *settled, *finds, *known, *logged][0]
    told = [one.fields for one in finds if one.page == best.page is not None][:1]
    if best.kind == ITEM and best.state == DONE and told and None not in (best.fields, *told) and told != [best.fields]:
        again = replace(best, state=AGAIN, due=0.0, fields=told[0])
        return replace(again, etag=None, modified=None, digest=None, row=None)
    return best


def updated(known: Records, learned: list[Records]) -> Records:
    return list(records(update(table(known), [table(log) for log in learned])))


@given(known_ones(), logs())
def test_an_update_is_what_the_reference_says(known, learned):
    assert updated(known, learned) == slow(known, learned)


@given(known_ones(), logs(), st.sampled_from([1, 2, 4, 8]))
def test_to_split_and_update_is_to_update_and_split(known, learned, count):
    parts = [split(table(log), count) for log in learned]
    befores = split(table(known), count)
    each = [update(before, [part[at] for part in parts]) for at, before in enumerate(befores)]
    whole = split(update(table(known), [table(log) for log in learned]), count)
    assert [list(records(one)) for one in each] == [list(records(one)) for one in whole]


@given(known_ones(), st.sampled_from([(1, 2), (1, 8), (2, 4)]))
def test_more_buckets_split_each_bucket_that_was(known, counts):
    few, many = counts
    coarse, fine = split(table(known), few), split(table(known), many)
    for at, bucket in enumerate(fine):
        assert list(records(split(coarse[at % few], many)[at])) == list(records(bucket))
    assert sum(one.num_rows for one in fine) == len(known)


def test_a_try_beats_what_is_known_that_beats_a_find_that_beats_what_is_held():
    def item(state: str, mark: str) -> Known:
        return Known("http://a/i", ITEM, page=mark, state=state, outcome=mark)

    held, found, again, done = (item(state, state) for state in (HELD, NEW, AGAIN, DONE))
    assert updated([held], [[held, found]]) == [found]
    assert updated([done], [[found, held]]) == [done]
    assert updated([done], [[again], [found]]) == [again]
    assert updated([], [[item(NEW, "first")], [item(NEW, "second")]]) == [item(NEW, "first")]
    assert updated([found], [[item(AGAIN, "first"), item(DONE, "last")]]) == [item(DONE, "last")]


def test_new_texts_on_the_same_page_make_an_item_new_and_those_of_another_page_do_not():
    def item(page: str, fields: str, **more: str | float | None) -> Known:
        return Known("http://a/i", ITEM, page=page, fields=fields, **more)  # type: ignore[arg-type]

    kept = item("p", "old", state=DONE, outcome="kept", etag="e", modified="m", digest="d", row="r", due=9e9)
    (again,) = updated([kept], [[item("p", "new")]])
    assert (again.state, again.fields, again.due) == (AGAIN, "new", 0.0)
    assert (again.etag, again.modified, again.digest, again.row) == (None, None, None, None)
    assert updated([kept], [[item("p", "old"), item("q", "other")]]) == [kept]
    assert updated([kept], [[item("p", "old"), item("p", "new")]]) == [kept], "its first texts"
    page = replace(kept, kind="page")
    assert updated([page], [[replace(item("p", "new"), kind="page")]]) == [page]


@given(st.integers(0, 40 * BUCKET_ROWS), st.integers(0, 6))
def test_buckets_are_a_power_of_two_that_suffices_and_never_shrinks(rows, exponent):
    before = 2**exponent
    count = buckets_for(rows, before)
    assert count >= before and count & (count - 1) == 0 and rows <= count * BUCKET_ROWS
    assert count == before or rows > count // 2 * BUCKET_ROWS
