import pytest
import torch

from dsray.models import speed
from dsray.models.speed import Ahead, Recorded, Speed, best


def test_a_cpu_gets_nothing_that_rounds_and_cuda_gets_everything():
    assert best("cpu") == Speed(channels_last=True)
    assert best("cuda:1") == Speed(half=True, channels_last=True, search=True, fused=True, graphs=True)


def test_what_is_not_recorded_runs_as_it_is():
    seen = []
    plain = Recorded(lambda *given: seen.append(given) or given[0] + given[1], "cpu", on=False)
    a, b = torch.ones(2), torch.ones(2)
    assert plain(a, b).tolist() == [2.0, 2.0] and seen[0][0] is a


class Stream:
    def wait_stream(self, other):
        pass


class Tape:
    """A CUDA graph as the CPU can play it: what was called while it was recorded is called again."""

    def replay(self):
        self.function()


@pytest.fixture
def recorder(monkeypatch):
    """CUDA's interface without CUDA: recording runs nothing, replaying runs what was recorded on the same tensors."""
    from contextlib import contextmanager

    @contextmanager
    def nothing(*given, **named):
        yield

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: Stream())
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: Stream())
    monkeypatch.setattr(torch.cuda, "stream", nothing)
    monkeypatch.setattr(torch.cuda, "graph", nothing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)

    class Played(Recorded):
        def _record(self, *inputs):
            before = state.clone()
            tape, mine, found = super()._record(*inputs)
            state.copy_(before)  # recording runs nothing
            tape.function = lambda: found.copy_(self.function(*mine))
            return tape, mine, found

    state = torch.zeros(2)

    def step(x):
        state.add_(x)
        return state * 2

    return Played(step, "cpu", on=True), state


def test_every_call_is_one_run_with_its_own_inputs_and_its_own_output(recorder):
    recorded, state = recorder
    told = [recorded(torch.full((2,), float(n))) for n in range(1, 9)]
    assert state.tolist() == [36.0, 36.0]
    assert [t[0].item() for t in told] == [2.0 * n * (n + 1) / 2 for n in range(1, 9)]
    assert len(recorded.graphs) == 1


def test_each_shape_has_a_graph_of_its_own(recorder):
    recorded, _ = recorder
    for _ in range(5):
        recorded(torch.ones(2))
        recorded(torch.ones(1))
    assert len(recorded.graphs) == 2


def test_what_cannot_be_recorded_goes_on_after_a_warning(recorder, monkeypatch):
    recorded, state = recorder

    def refuse(*inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recorded, "_record", refuse)
    with pytest.warns(UserWarning, match="without a CUDA graph: operation not permitted"):
        for _ in range(6):
            recorded(torch.ones(2))
    assert state.tolist() == [6.0, 6.0]


def test_another_attempt_is_recorded_anew(recorder):
    recorded, _ = recorder
    for attempt in (0, 0, 0, 0, 1, 1, 1, 1):
        recorded.attempt = attempt
        recorded(torch.ones(2))
    assert len(recorded.graphs) == 2


def test_what_is_expected_is_made_ahead_and_once():
    made = []
    ahead = Ahead(lambda step, rank: made.append(step) or step)
    assert ahead(0, 0) == 0
    ahead.expect(1, 0)
    assert made == [0, 1] and ahead(1, 0) == 1 and made == [0, 1]
    ahead.expect(2, 0)
    assert ahead(7, 0) == 7 and ahead(1, 0) == 1 and made == [0, 1, 2, 7, 1]


def test_schedules_reach_a_step_as_floats():
    assert speed.dialled(speed.numbers([3, 0.1])) == [3.0, 0.1]
