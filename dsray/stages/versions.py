"""The versions of a dataset: one ref says which there are, which are withdrawn and why, and what tags name them.

refs/releases/<dataset>.json   versions: {number: {key, created, withdrawn: {reason, at}}}, tags: {name: number}, latest

`latest` is what the dataset's name alone names: the version that the last build came to, an older one too when a change
was taken back; where that is withdrawn, the highest that stands.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dsray import keys
from dsray.errors import DsrayError
from dsray.lake import refs
from dsray.lake.store import Store

Entry = dict[str, Any]
Value = dict[str, Any]

FORMAT = 1
"""Of a release's manifest.json; one that says none is of the first."""

_TAG = re.compile(r"(?!v?\d+$)[a-z0-9][a-z0-9._-]{0,63}")


def published(store: Store, dataset: str) -> dict[int, Entry]:
    """All versions, the withdrawn ones too."""
    return _versions(_read(store, dataset))


def tags(store: Store, dataset: str) -> dict[str, int]:
    """Tag → version."""
    found: dict[str, int] = _read(store, dataset).get("tags", {})
    return found


def standing(entries: dict[int, Entry]) -> list[int]:
    """The numbers of those that are not withdrawn."""
    return sorted(number for number, entry in entries.items() if "withdrawn" not in entry)


def latest(store: Store, dataset: str) -> int:
    """The version that the dataset's name alone names; 0 where none stands."""
    return _latest(_read(store, dataset))


def datasets(store: Store) -> list[str]:
    """The datasets of a lake that have a version."""
    names = (entry.name.removeprefix("refs/releases/") for entry in store.list("refs/releases/"))
    return sorted(name.removesuffix(".json") for name in names)


def resolve(store: Store, name: str) -> tuple[str, int]:
    """The dataset and number that `digits@v3`, `digits@tag`, or `digits` for what the last build came to, names.

    Raises DsrayError when there is none, or it is withdrawn.
    """
    dataset, number = numbered(store, name)
    if said := withdrawn(published(store, dataset)[number]):
        raise DsrayError(f"{dataset}@v{number} was {said}", _known(store, dataset))
    return dataset, number


def numbered(store: Store, name: str) -> tuple[str, int]:
    """As `resolve`, but one that is withdrawn may be named too."""
    dataset, _, wanted = name.partition("@")
    entries, tagged = published(store, dataset), tags(store, dataset)
    if not entries:
        others = ", ".join(datasets(store))
        do = f"Known: {others}." if others else "Build one with `dsray run recipe.yaml`."
        raise DsrayError(f"There is no release of '{dataset}' on {store.url}.", do)
    there = standing(entries)
    if not wanted and not there:
        raise DsrayError(f"Every version of '{dataset}' is withdrawn.", "Build a new one with `dsray run recipe.yaml`.")
    if wanted and wanted not in tagged and not re.fullmatch(r"v?\d+", wanted):
        raise DsrayError(f"'{wanted}' is not a version or tag of {dataset}.", _known(store, dataset))
    number = tagged.get(wanted) or int(wanted.removeprefix("v")) if wanted else latest(store, dataset)
    if number not in entries:
        raise DsrayError(f"There is no {dataset}@v{number} on {store.url}.", _known(store, dataset))
    return dataset, number


def withdrawn(entry: Entry) -> str:
    """`withdrawn on 2026-11-28: wrong labels.`, or nothing for a version that stands."""
    said = entry.get("withdrawn")
    return f"withdrawn on {said['at'][:10]}: {said['reason'].rstrip('.')}." if said else ""


def claimed(key: str) -> bytes:
    """What the claim of a version says."""
    return keys.canonical({"key": key})


def publish(store: Store, dataset: str, number: int, key: str) -> None:
    """Moves the dataset's ref: from here on readers see the version. A new one is the latest."""
    entry = {"key": key, "created": _now()}

    def change(value: Value) -> None:
        if value["versions"].setdefault(str(number), entry) is entry:
            value["latest"] = number

    _update(store, dataset, change)


def point(store: Store, dataset: str, number: int) -> None:
    """A build came to a version that was there before: that is the latest now, unless it was withdrawn."""

    def change(value: Value) -> None:
        if number in standing(_versions(value)):
            value["latest"] = number

    _update(store, dataset, change)


def withdraw(store: Store, dataset: str, number: int, reason: str) -> None:
    """Takes a version from its readers; its files stay until `gc`. Tags that name it go too. Raises DsrayError."""
    if not reason.strip():
        raise DsrayError("A withdrawal needs a reason.", 'Say why: --reason "wrong labels in v3".')
    said = {"reason": reason.strip(), "at": _now()}

    def change(value: Value) -> None:
        _entry(value, dataset, number).setdefault("withdrawn", said)
        value["tags"] = {tag: named for tag, named in value.get("tags", {}).items() if named != number}

    _update(store, dataset, change)


def restore(store: Store, dataset: str, number: int) -> None:
    """Gives a withdrawn version back to its readers. Raises DsrayError when its files are no longer whole."""
    prefix = f"releases/{dataset}/v{number}/"
    there = {entry.name for entry in store.list(prefix)}
    said = json.loads(store.read(f"{prefix}manifest.json")) if f"{prefix}manifest.json" in there else None
    if said is None or not there.issuperset(shard["name"] for shard in said.get("shards", ())):
        raise DsrayError(f"The files of {dataset}@v{number} are gone.", "Build it again with `dsray run recipe.yaml`.")

    def change(value: Value) -> None:
        _entry(value, dataset, number).pop("withdrawn", None)

    _update(store, dataset, change)


def tag(store: Store, dataset: str, name: str, number: int | None) -> None:
    """Lets a tag name a version that stands, or with None takes it away. Raises DsrayError."""
    if not _TAG.fullmatch(name):
        raise DsrayError(
            f"'{name}' cannot be a tag.", "Use lower-case letters, digits, '.', '_' and '-'; not a number."
        )

    def change(value: Value) -> None:
        tagged = value.setdefault("tags", {})
        if number is None:
            tagged.pop(name, None)
        elif "withdrawn" in _entry(value, dataset, number):
            raise DsrayError(f"{dataset}@v{number} is withdrawn.", "Tag another version.")
        else:
            tagged[name] = number

    _update(store, dataset, change)


def _entry(value: Value, dataset: str, number: int) -> Entry:
    entry: Entry | None = value["versions"].get(str(number))
    if entry is None:
        raise DsrayError(f"There is no {dataset}@v{number}.", "`dsray show` lists what there is.")
    return entry


def _known(store: Store, dataset: str) -> str:
    numbers = (f"v{number}" for number in standing(published(store, dataset)))
    return f"Known: {', '.join([*numbers, *sorted(tags(store, dataset))])}."


def _read(store: Store, dataset: str) -> Value:
    value, _ = refs.get(store, f"releases/{dataset}")
    found = {"versions": {}, "tags": {}, **(value or {})}
    both = [found["versions"], found["tags"]]
    if not all(isinstance(one, dict) for one in both) or not all(isinstance(one, dict) for one in both[0].values()):
        raise refs.broken(store, f"releases/{dataset}")
    return found


def _update(store: Store, dataset: str, change: Callable[[Value], Any]) -> None:
    def changed(value: Value | None) -> Value:
        copy: Value = {**(value or {})}
        copy["versions"] = {number: dict(entry) for number, entry in copy.get("versions", {}).items()}
        copy["tags"] = dict(copy.get("tags", {}))
        change(copy)
        return copy

    refs.update(store, f"releases/{dataset}", changed)


def _latest(value: Value) -> int:
    there = standing(_versions(value))
    said = value.get("latest", 0)
    return said if said in there else max(there, default=0)


def _versions(value: Value) -> dict[int, Entry]:
    return {int(number): entry for number, entry in value.get("versions", {}).items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
