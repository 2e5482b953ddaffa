"""What a person sees of versions: which there are, what one is made of, and what `tag` and `withdraw` did."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from dsray.dataset import Version, version
from dsray.errors import DsrayError
from dsray.lake.store import Missing, Store
from dsray.schema import SPLITS
from dsray.stages import versions
from dsray.stages.gates import told
from dsray.stages.select import by_count


def show(console: Console, store: Store, name: str | None) -> None:
    """What a release is made of; without a name, the datasets of a lake and their versions. Of a withdrawn one only
    what is left."""
    if name is None:
        names = versions.datasets(store)
        for dataset in names:
            console.print(f"  {dataset:<24} {_versions(store, dataset)}", highlight=False)
        if not names:
            console.print(f"There is no release on {store.url} yet.")
        return
    dataset, number = versions.numbered(store, name)
    entries = versions.published(store, dataset)
    console.print(f"{dataset}@v{number}  {store.url}/releases/{dataset}/v{number}/", highlight=False, style="bold")
    _history(console, dataset, number, entries, versions.tags(store, dataset))
    try:
        _contents(console, version(store, dataset, number))
    except Missing:
        if "withdrawn" not in entries[number]:
            raise
        console.print("  files        removed since then", highlight=False)


def tag(console: Console, store: Store, name: str, given: str | None, delete: bool) -> None:
    """Lets a tag name a version, or takes it away. Raises DsrayError."""
    dataset, _, wanted = name.partition("@")
    before = versions.tags(store, dataset)
    if delete:
        gone = given or wanted
        if gone not in before:
            known = ", ".join(sorted(before)) or "none"
            raise DsrayError(f"{dataset} has no tag '{gone}'.", f"Known: {known}.")
        versions.tag(store, dataset, gone, None)
        console.print(f"{dataset}@{gone} is gone; it was v{before[gone]}, which stays.", highlight=False)
        return
    if not given or not wanted:
        raise DsrayError("A tag names one version.", "Say both: dsray tag digits@v3 gold.")
    dataset, number = versions.resolve(store, name)
    versions.tag(store, dataset, given, number)
    moved = f"; it was v{before[given]}" if before.get(given, number) != number else ""
    console.print(f"{dataset}@{given} is v{number}{moved}.", highlight=False)


def withdraw(console: Console, store: Store, name: str, reason: str | None, undo: bool) -> None:
    """Takes a version from its readers, or gives it back. Raises DsrayError."""
    if "@" not in name:
        raise DsrayError("Only one version can be withdrawn at a time.", f"Say which: {name}@v3.")
    dataset, number = versions.numbered(store, name)
    if undo:
        versions.restore(store, dataset, number)
        console.print(f"{dataset}@v{number} stands; a withdrawal takes tags away, which do not come back.",
                      highlight=False)  # fmt: skip
        return
    tagged = _tags(versions.tags(store, dataset), number)
    versions.withdraw(store, dataset, number, reason or "")
    entries = versions.published(store, dataset)
    console.print(f"{dataset}@v{number} was {versions.withdrawn(entries[number])}", highlight=False)
    if tagged:
        console.print(f"  tags         {', '.join(tagged)}: removed", highlight=False)
    latest = versions.latest(store, dataset)
    means = f"`{dataset}` means v{latest}" if latest else f"No version of {dataset} is left"
    console.print(f"  {means}; the files stay until `dsray gc`.", highlight=False)


def told_withdrawn(console: Console, store: Store, dataset: str, number: int) -> bool:
    """Whether a version that a run came to is withdrawn; if so, says it in one line."""
    entries = versions.published(store, dataset)
    said = versions.withdrawn(entries.get(number, {}))
    if said:
        latest = versions.latest(store, dataset)
        readers = f"Readers get v{latest}" if latest else "Readers get nothing"
        console.print(f"  {dataset}@v{number} was {said} {readers}; `dsray withdraw {dataset}@v{number} --undo` "
                      "gives it back.", highlight=False)  # fmt: skip
    return bool(said)


def _history(
    console: Console, dataset: str, number: int, entries: Mapping[int, versions.Entry], tags: Mapping[str, int]
) -> None:
    """When a version was made, what names it, whether it is withdrawn; and which others are."""
    console.print(f"  created      {entries[number]['created'][:19].replace('T', ' ')} UTC", highlight=False)
    if names := _tags(tags, number):
        console.print(f"  tags         {', '.join(names)}", highlight=False)
    if said := versions.withdrawn(entries[number]):
        console.print(f"  {said}", highlight=False, style="bold")
    for other, entry in sorted(entries.items()):
        if other != number and (said := versions.withdrawn(entry)):
            console.print(f"  v{other:<11} {said}", highlight=False)


def _contents(console: Console, found: Version) -> None:
    manifest = found.manifest
    origins = sorted({origin for counts in manifest["rows"].values() for origin in counts}, key=_origin_order)
    table = Table(box=None, padding=(0, 2))
    for column in ("split", *origins):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split in SPLITS:
        if split in manifest["rows"]:
            table.add_row(split, *(f"{manifest['rows'][split].get(origin, 0):,}" for origin in origins))
    console.print(table)
    console.print(f"  classes      {', '.join(manifest['classes'][:20])}", highlight=False)
    for rule, count in by_count(manifest["quarantine"]):
        console.print(f"  quarantined  {count:>7,}  {rule}", highlight=False)
    for gate in manifest["gates"]:
        console.print(f"  gate         {'passed' if gate['passed'] else 'failed'}  {told(gate)}", highlight=False)
    if accepted := manifest.get("accepted"):
        console.print(f"  accepted     {accepted['reason']}", highlight=False)
    for model, spent in manifest.get("private", {}).items():
        said = f"({spent['epsilon']:g}, {spent['delta']:g}), a row; {spent['accountant']}"
        console.print(f"  private      {model}: {said}", highlight=False)


def _versions(store: Store, dataset: str) -> str:
    """`v1  v2 (gold)  v3 (withdrawn)`"""
    tagged = versions.tags(store, dataset)
    words = []
    for number, entry in sorted(versions.published(store, dataset).items()):
        notes = _tags(tagged, number) + (["withdrawn"] if "withdrawn" in entry else [])
        words.append(f"v{number}" + (f" ({', '.join(notes)})" if notes else ""))
    return "  ".join(words)


def _tags(tagged: Mapping[str, int], number: int) -> list[str]:
    """The tags that name a version."""
    return sorted(tag for tag, named in tagged.items() if named == number)


def _origin_order(origin: str) -> tuple[int, str]:
    return (("real", "augmented").index(origin) if origin in ("real", "augmented") else 2), origin
