"""dsray.stages.versions: what readers may open, and what they are told when they may not."""

import pytest

from dsray.errors import DsrayError
from dsray.lake.store import Store
from dsray.stages import versions


def three(store: Store) -> Store:
    for number in (1, 2, 3):
        store.create(f"releases/digits/v{number}/manifest.json", b"{}")
        versions.publish(store, "digits", number, f"key {number}")
    return store


def test_the_newest_that_stands_is_what_a_bare_name_means(store: Store):
    three(store)
    assert versions.resolve(store, "digits") == ("digits", 3)
    versions.withdraw(store, "digits", 3, "wrong labels")
    assert versions.resolve(store, "digits") == ("digits", 2)
    assert versions.standing(versions.published(store, "digits")) == [1, 2]


def test_a_withdrawn_version_is_refused_with_its_reason_until_it_is_restored(store: Store):
    versions.withdraw(three(store), "digits", 2, " wrong labels. ")
    with pytest.raises(DsrayError, match=r"digits@v2 was withdrawn on 20\d\d-\d\d-\d\d: wrong labels\. Known: v1, v3"):
        versions.resolve(store, "digits@v2")
    versions.restore(store, "digits", 2)
    assert versions.resolve(store, "digits@2") == ("digits", 2)


def test_a_version_without_its_files_is_not_restored(store: Store):
    versions.withdraw(three(store), "digits", 2, "why not")
    store.delete("releases/digits/v2/manifest.json")
    with pytest.raises(DsrayError, match="files of digits@v2 are gone"):
        versions.restore(store, "digits", 2)


def test_a_tag_names_a_version_and_goes_with_it(store: Store):
    versions.tag(three(store), "digits", "gold", 1)
    assert versions.resolve(store, "digits@gold") == ("digits", 1)
    versions.tag(store, "digits", "gold", 2)
    assert versions.tags(store, "digits") == {"gold": 2}
    versions.withdraw(store, "digits", 2, "wrong labels")
    assert versions.tags(store, "digits") == {}
    with pytest.raises(DsrayError, match="withdrawn"):
        versions.tag(store, "digits", "gold", 2)
    versions.tag(store, "digits", "gold", 3)
    versions.tag(store, "digits", "gold", None)
    assert versions.tags(store, "digits") == {}


def test_publishing_twice_changes_nothing(store: Store):
    before = versions.published(three(store), "digits")
    versions.publish(store, "digits", 2, "another key")
    assert versions.published(store, "digits") == before


@pytest.mark.parametrize("name", ["v3", "3", "", "Gold", "a/b", "-x", "a" * 65])
def test_what_cannot_be_a_tag(store: Store, name: str):
    with pytest.raises(DsrayError, match="cannot be a tag"):
        versions.tag(three(store), "digits", name, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("letters", "no release of 'letters'"),
        ("digits@v9", r"no digits@v9 on .*Known: v1, v2, v3\."),
        ("digits@gold", "'gold' is not a version or tag"),
    ],
)
def test_a_name_that_names_nothing(store: Store, name: str, said: str):
    with pytest.raises(DsrayError, match=said):
        versions.resolve(three(store), name)


def test_without_a_version_that_stands_nothing_is_opened(store: Store):
    three(store)
    for number in (1, 2, 3):
        versions.withdraw(store, "digits", number, "all wrong")
    with pytest.raises(DsrayError, match="Every version of 'digits' is withdrawn"):
        versions.resolve(store, "digits")
    with pytest.raises(DsrayError, match="needs a reason"):
        versions.withdraw(store, "digits", 1, "  ")
    assert versions.datasets(store) == ["digits"]


def test_a_name_alone_is_what_the_last_build_came_to(store):
    for number in (1, 2, 3):
        versions.publish(store, "digits", number, f"k{number}")
    versions.point(store, "digits", 1)
    assert versions.resolve(store, "digits") == ("digits", 1)
    versions.withdraw(store, "digits", 1, "wrong")
    assert versions.resolve(store, "digits") == ("digits", 3)
    versions.point(store, "digits", 1)  # stays withdrawn
    assert versions.resolve(store, "digits") == ("digits", 3)
    versions.point(store, "digits", 2)
    store.create("releases/digits/v1/manifest.json", b"{}")
    versions.restore(store, "digits", 1)
    assert versions.resolve(store, "digits") == ("digits", 2)
    versions.publish(store, "digits", 1, "k1")  # made again
    assert versions.resolve(store, "digits") == ("digits", 2)
    versions.publish(store, "digits", 4, "k4")
    assert versions.resolve(store, "digits") == ("digits", 4)


def test_a_version_that_is_given_back_moves_what_the_name_means_only_where_the_last_build_came_to_it(store):
    three(store)
    versions.point(store, "digits", 1)
    versions.withdraw(store, "digits", 3, "wrong")
    versions.restore(store, "digits", 3)
    assert versions.latest(store, "digits") == 1
    for number in (1, 2, 3):
        versions.withdraw(store, "digits", number, "wrong")
    assert versions.latest(store, "digits") == 0
    versions.restore(store, "digits", 2)
    assert versions.resolve(store, "digits") == ("digits", 2)
    versions.restore(store, "digits", 1)
    assert versions.resolve(store, "digits") == ("digits", 1), "to which the last build came"
