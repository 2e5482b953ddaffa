"""What keeps the objects that a build uses from being swept: its lease. docs/operations.md has the argument."""

from collections.abc import Mapping
from contextlib import ExitStack

from dsray.errors import LakeError
from dsray.lake import leases, manifests, tombstones
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from dsray.lake.tombstones import Tombstones
from dsray.recipe import Recipe
from dsray.stages.step import Made, Step


class Hold:
    """Keeps what a build uses from being swept. What the last build's ref names is safe; from the first step on that it
    does not name, the build holds a lease. Until then rows may be forgotten: `forgotten` is what the build knows of."""

    def __init__(
        self, recipe: Recipe, store: Store, safe: Mapping[str, str], forgotten: Tombstones, stack: ExitStack
    ) -> None:
        self.recipe, self.store, self.safe, self.forgotten, self.stack = recipe, store, safe, forgotten, stack
        self.lease: leases.Lease | None = None

    def find(self, step: Step, made: Made) -> Manifest | None:
        """The step's manifest, if it stands. Raises LakeError when one of those before it was swept, or
        rows were forgotten."""
        found = manifests.find(self.store, step.stage, step.key)
        if found and self.lease is None and self.safe.get(step.name) == step.key:
            return found
        first = self.lease is None
        if self.lease is None:
            self.lease = self.stack.enter_context(leases.held(self.store, f"dsray run {self.recipe.dataset}"))
        self.lease.declare({**{name: one.key for name, one in made.items()}, step.name: step.key}, step.folders)
        if first and tombstones.load(self.store) != self.forgotten:
            raise LakeError("Rows were forgotten meanwhile.", "Run again.")
        for one in made.values() if first else ():
            if manifests.find(self.store, one.stage, one.key) is None:
                raise LakeError(f"The last build of {self.recipe.dataset} was swept meanwhile.", "Run again.")
        return manifests.find(self.store, step.stage, step.key)

    def before(self, name: str) -> Manifest | None:
        """The manifest of a step in the last build, if it stands. Its shards are there as long as the lease names their
        folder: a sweep takes manifests first."""
        key = self.safe.get(name)
        return manifests.find(self.store, name.split()[0], key) if key else None

    def publish(self, manifest: Manifest) -> Manifest:
        """Publishes what was made, unless it may have been swept."""
        self.check()
        return manifests.publish(self.store, manifest)

    def check(self) -> None:
        """Raises LakeError when the lease may have ended."""
        if self.lease:
            self.lease.check()
