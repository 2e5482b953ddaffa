"""What can go wrong, as a person meets it: one sentence on what is wrong, one on what to do, and an exit code."""


class DsrayError(Exception):
    """A failure with a cause that a user can mend. `str(error)` is the whole message; no stack trace is needed."""

    exit_code = 1

    def __init__(self, wrong: str, do: str = "") -> None:
        self.wrong = wrong
        self.do = do
        super().__init__(f"{wrong} {do}".strip())

    def __reduce__(self) -> tuple[type["DsrayError"], tuple[str, str]]:
        return type(self), (self.wrong, self.do)


class RecipeError(DsrayError):
    """The recipe is not valid; nothing was started."""

    exit_code = 2


class LakeError(DsrayError):
    """The lake cannot be reached, refuses us, is full, or breaks a promise that dsray needs."""

    exit_code = 3


class DamagedError(LakeError):
    """An object's bytes are not those that its receipt names."""


class SourceError(DsrayError):
    """Raw data could not be had: a site that cannot be reached, a port in use."""

    exit_code = 4


class ContestedError(SourceError):
    """Another process committed the same piece of a crawl first; who reads what it committed can go on."""


class UnreachedError(SourceError):
    """Nobody answered: as much the network's or the recipe's fault as a site's."""


class GateError(DsrayError):
    """Synthetic rows did not pass a gate; the release is refused."""

    exit_code = 5


class ClusterError(DsrayError):
    """Ray could not be started, joined, or lost too much to go on."""

    exit_code = 6


class ConservationError(DsrayError):
    """A stage lost or invented rows: rows in is not rows kept + rows quarantined. This is a defect of dsray."""

    exit_code = 70


INTERRUPTED = 130
"""The exit code after Ctrl-C, as every shell expects it."""
