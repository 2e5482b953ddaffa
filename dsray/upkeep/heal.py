"""Makes again what is damaged on a lake, and only that: it is taken away, with the manifests that say that it is there,
and the builds that need it run again. They find all else, so that releases get the bytes that they had."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsray import build
from dsray import recipe as recipes
from dsray.build import Listener
from dsray.errors import DsrayError, LakeError
from dsray.lake import leases, manifests, refs, shards
from dsray.lake.manifests import Manifest
from dsray.lake.store import Missing, Store
from dsray.recipe import Recipe
from dsray.stages import collect, versions
from dsray.upkeep.verify import HEAL, NO_RECEIPT, Checked, Problem, manifests_name, verify

_TURNS = 3
"""What is damaged behind a manifest that cannot be read shows when that has been made again."""

_RUN = "dsray run RECIPE, with the recipe of its dataset"
"""Of what no version needs, which could tell how it was made."""

_REASON = "The ref of this dataset was damaged, and nobody knows whether this version stood."


@dataclass(frozen=True)
class Again:
    """A version that stands, and what it takes to make it again."""

    dataset: str
    number: int
    key: str
    recipe: dict[str, Any]
    build: dict[str, Any]  # crawl, revisit, steps: what its builds ref was
    accepted: str | None
    manifests: list[Manifest] = field(default_factory=list)  # those that can be read

    @property
    def folder(self) -> str:
        """Of its release."""
        return f"releases/{self.dataset}/v{self.number}/"

    @property
    def release(self) -> str:
        """The manifest of the stage that made it."""
        return manifests_name("release", self.key)

    def among(self, names: Iterable[str]) -> set[str]:
        """Those of the objects that it was made of."""
        own = {manifests_name(step.split()[0], key) for step, key in self.build["steps"].items()} | {self.release}
        return {
            name
            for name in names
            if name in own or name.startswith(self.folder) or any(_needs(made, {name}) for made in self.manifests)
        }


def heal(store: Store, checked: Checked, listener: Listener, dataset: str | None = None) -> Checked:
    """Mends what can be made again; what was found after that. Raises LakeError while somebody else writes."""
    failed: list[Problem] = []
    for _ in range(_TURNS):
        problems = [problem for problem in checked.problems if problem.mend == HEAL]
        if not problems:
            break
        broken = [problem.name for problem in problems if problem.name.startswith("refs/")]
        if broken:
            _point(store, broken)
        else:
            failed = _remake(store, problems, listener)
        before, checked = checked, verify(store, dataset)
        if checked.problems == before.problems:
            break
    left = [one._replace(mend=_RUN) if one.mend == HEAL else one for one in checked.problems]
    return Checked([*left, *failed] if left else [], checked.objects, checked.bytes)


def _remake(store: Store, problems: Sequence[Problem], listener: Listener) -> list[Problem]:
    """Takes away what is damaged of the versions that can be made again, and makes them; what hindered the others."""
    damaged = {problem.name for problem in problems}
    there = list(agains(store))
    known = [*(made for version in there for made in version.manifests), *_last(store)]
    receipts = {one.name: one for made in known for one in made.shards}
    with leases.alone(store, HEAL) as lease:
        for problem in problems:
            if problem.what == NO_RECEIPT and (
                shards.attest(store, receipts[problem.name]) or problem.name.startswith("raw/")
            ):
                damaged.remove(problem.name)
        doomed = damaged | {manifests_name(made.stage, made.key) for made in known if _needs(made, damaged)}
        doomed |= {one.release for one in there if any(name.startswith(one.folder) for name in damaged)}
        able, failed = _able([version for version in there if version.among(doomed)])
        spared = {name for version, _ in failed for name in version.among(doomed)}
        doomed -= spared - {name for version, _ in able for name in version.among(doomed)}
        for name in sorted(doomed, key=lambda name: (not name.startswith("stages/"), name)):
            lease.check()
            store.delete(name)
        for version, _ in able:
            if f"{version.folder}claim.json" in doomed:
                store.create(f"{version.folder}claim.json", versions.claimed(version.key))
    for version, recipe in able:
        try:
            _build(store, version, recipe, listener)
        except DsrayError as error:
            failed.append((version, error))
    return [
        Problem(f"{one.dataset}@v{one.number}", f"cannot be made again: {error.wrong.rstrip('.')}",
                error.do.rstrip(".") or _RUN) for one, error in failed
    ]  # fmt: skip


def _able(touched: Sequence[Again]) -> tuple[list[tuple[Again, Recipe]], list[tuple[Again, DsrayError]]]:
    """Versions whose recipe still makes sense here, with it; the others with what is wrong."""
    able, failed = [], []
    for version in touched:
        try:
            recipe = recipes.of(version.recipe)
            build.check(recipe)
            able.append((version, recipe))
        except DsrayError as error:
            failed.append((version, error))
    return able, failed


def _build(store: Store, version: Again, recipe: Recipe, listener: Listener) -> None:
    """Makes a version again. The dataset's name means what it meant, whatever number this comes to."""
    before = versions.latest(store, version.dataset)
    try:
        build.run(recipe, store, listener, accept=version.accepted, again=version.build)
    finally:
        if versions.latest(store, version.dataset) != before:
            versions.point(store, version.dataset, before)


def _needs(made: Manifest, damaged: set[str]) -> bool:
    """Whether a manifest says of a damaged object that it is there."""
    named = {name for one in made.shards for name in (one.name, one.lender)} | {*made.details.get("votes", ())}
    folder = {"train": f"models/{made.key}/", "evaluate": f"evaluations/{made.key}/"}.get(made.stage)
    return bool(named & damaged) or any(folder and name.startswith(folder) for name in damaged)


def _last(store: Store) -> Iterator[Manifest]:
    """The manifests of last builds, which need not have come to a release."""
    for entry in store.list("refs/builds/"):
        value, _ = refs.get(store, entry.name.removeprefix("refs/").removesuffix(".json"))
        for step, key in (value or {}).get("steps", {}).items():
            if made := _manifest(store, step.split()[0], key):
                yield made


def agains(store: Store) -> Iterator[Again]:
    """All versions that stand and can be made again, oldest first."""
    for dataset in versions.datasets(store):
        entries = versions.published(store, dataset)
        for number in versions.standing(entries):
            key = entries[number]["key"]
            again = _again(store, dataset, number, key)
            if again:
                for step, one in {**again.build["steps"], "release": key}.items():
                    if made := _manifest(store, step.split()[0], one):
                        again.manifests.append(made)
                yield again


def _again(store: Store, dataset: str, number: int, key: str) -> Again | None:
    """From the manifest of the stage, else from that of the release: either may be damaged."""
    made = _manifest(store, "release", key)
    if made and "again" in made.details:
        said = made.details["again"]
        last = {**said, "steps": {**said["steps"], "release": key}}
        return Again(dataset, number, key, json.loads(said["recipe"]), last, made.params.get("accepted"))
    try:
        told = json.loads(store.read(f"releases/{dataset}/v{number}/manifest.json"))
        steps = {name: one["key"] for name, one in told["stages"].items()}
        collected = _manifest(store, "collect", steps["collect"])
    except (LakeError, ValueError, KeyError, TypeError):
        return None
    if collected is None:
        return None
    asked = {name: collected.params[name] for name in ("crawl", "revisit")}
    accepted = told.get("accepted", {}).get("reason")
    return Again(dataset, number, key, told["recipe"], {**asked, "steps": {**steps, "release": key}}, accepted)


def _manifest(store: Store, stage: str, key: str) -> Manifest | None:
    try:
        return manifests.find(store, stage, key)
    except LakeError:
        return None


def _point(store: Store, broken: Sequence[str]) -> None:
    """Makes refs again, from what they pointed to: those of releases first, which tell of all else."""
    with leases.alone(store, HEAL):
        for name in broken:
            store.delete(name)
        _pointed(store, broken)


def _pointed(store: Store, broken: Sequence[str]) -> None:
    for name in broken:
        if name.startswith("refs/releases/"):
            _releases(store, name.removeprefix("refs/releases/").removesuffix(".json"))
    for version in agains(store):
        builds = f"builds/{version.dataset}"
        if f"refs/{builds}.json" in broken:  # the newest comes last
            _set(store, builds, {name: version.build[name] for name in ("crawl", "revisit", "steps")})
        recipe = recipes.of(version.recipe)
        step = collect.step(recipe, {}, version.build["crawl"], version.build["revisit"])
        for source in (name for name, said in recipe.collect.items() if said.crawl):
            crawl = collect.crawl_of(source, step, recipe, store)
            if f"refs/{crawl.ref}.json" in broken and crawl.read("crawl.json"):
                _set(store, crawl.ref, {"last": crawl.root})


def _set(store: Store, ref: str, value: dict[str, Any]) -> None:
    refs.update(store, ref, lambda _: value)


def _releases(store: Store, dataset: str) -> None:
    """The versions by their claims. The last build's stands; of others nobody knows, so they are withdrawn."""
    last, _ = refs.get(store, f"builds/{dataset}")
    for entry in list(store.list(f"releases/{dataset}/v")):
        if not entry.name.endswith("/claim.json"):
            continue
        number = int(entry.name.split("/")[2].removeprefix("v"))
        try:
            key = json.loads(store.read(entry.name))["key"]
            store.read(f"releases/{dataset}/v{number}/manifest.json")
        except (Missing, ValueError, KeyError):
            continue
        versions.publish(store, dataset, number, key)
        if key != (last or {}).get("steps", {}).get("release"):
            versions.withdraw(store, dataset, number, _REASON)
