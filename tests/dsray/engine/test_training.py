"""training: which errors end a training at once, and which one a person is told. Ray Train: stages/test_train."""

import pytest
from ray.train import ControllerError, WorkerGroupError

from dsray.engine import training
from dsray.engine.trainer import Trainer, Verdict
from dsray.errors import ClusterError, DsrayError, LakeError

OURS = DsrayError("The rows are gone.", "Bring them back.")


def test_an_error_that_would_come_again_ends_the_training():
    with pytest.raises(DsrayError, match="rows are gone"):
        Verdict().after_exception(None, {0: RuntimeError("a peer left"), 1: OURS})


@pytest.mark.parametrize("passing", [RuntimeError("connection reset"), LakeError("The lake is slow.")])
def test_an_error_that_may_pass_does_not(passing):
    Verdict().after_exception(None, {0: passing})


def test_our_own_error_is_told_before_those_that_came_of_it():
    for error in (WorkerGroupError("many", {0: RuntimeError("a peer left"), 1: OURS}), ControllerError(OURS)):
        assert str(training._why(error)) == str(OURS)
    assert isinstance(training._why(WorkerGroupError("one", {0: RuntimeError("a peer left")})), ClusterError)


def test_ray_train_starts_no_actor_that_is_not_used():
    trainer = Trainer(print)
    names = {type(callback).__name__ for callback in trainer._create_default_callbacks()}
    assert {"WorkingDirectorySetupCallback", "UserCallbackHandler"} <= names
    assert not names & {"DatasetsCallback", "PlacementGroupCleanerCallback"}
