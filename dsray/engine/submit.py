"""The same build on a running Ray cluster, through its Jobs API."""

import logging
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsray.errors import ClusterError

_POLL_S = 1.0
_AGENT_S = 60


def submit(recipe: Path, address: str, arguments: list[str], hear: Callable[[str], None], follow: bool = True) -> str:
    """Submits `python -m jobs.build <recipe>` with the recipe's folder as working directory; returns the job's id.

    With `follow` the log goes to `hear` line by line until the job ends; a job that fails raises ClusterError. Whoever
    is interrupted meanwhile leaves it alone, and raises KeyboardInterrupt with what to know.
    The cluster's image must have dsray installed; credentials come from its own environment, never from here.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):  # which chose INFO
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        client = JobSubmissionClient(address)
        job = _submit(client, recipe, arguments)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(
            f"The cluster at {address} did not take the job: {reason}.",
            "Give the address of its dashboard (http://host:8265) and its token in RAY_AUTH_TOKEN.",
        ) from error
    if not follow:
        return job
    try:
        status = _followed(client, job, hear)
    except KeyboardInterrupt:
        stop = f"`ray job stop {job} --address {address}` ends it"
        raise KeyboardInterrupt(f"Job {job} goes on without us: {stop}.") from None
    if status != JobStatus.SUCCEEDED:
        raise ClusterError(
            f"Job {job} on {address} ended as {status}.", "Its log is above; submit again to go on from there."
        )
    return job


def _followed(client: Any, job: str, hear: Callable[[str], None]) -> Any:
    """Tells what the job's log says, in whole lines, until it ends; its status then."""
    shown = 0
    while True:
        status = client.get_job_status(job)
        log = client.get_job_logs(job)
        end = len(log) if status.is_terminal() else log.rfind("\n") + 1
        for line in log[shown:end].splitlines():
            hear(line)
        shown = max(shown, end)
        if status.is_terminal():
            return status
        time.sleep(_POLL_S)


def _submit(client: Any, recipe: Path, arguments: list[str]) -> str:
    """Submits; a cluster that has just started has no agent for a moment, and is asked again."""
    deadline = time.monotonic() + _AGENT_S
    while True:
        try:
            return str(
                client.submit_job(
                    entrypoint="python -m jobs.build " + shlex.join([recipe.name, *arguments]),
                    runtime_env={
                        "working_dir": str(recipe.parent.resolve()),
                        "excludes": [".dsray/", ".venv/", ".git/"],
                    },
                    metadata={"dsray": recipe.stem},
                )
            )
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
