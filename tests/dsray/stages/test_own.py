import sys
import types

import numpy as np
import pytest

from dsray.errors import RecipeError
from dsray.stages import own


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("own_steps_of_the_test")
    module.add = lambda array, by, more=0: (array + by + more).astype(np.uint8)
    module.wide = lambda array: array.astype(float)
    module.cut = lambda array: array[1:]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_steps_get_their_options_and_keep_the_array(module):
    zeros = np.zeros((2, 2, 1), np.uint8)
    assert (own.step_of(f"{module}:add", 3, more=4)(zeros) == 7).all()
    first, second = own.steps(
        [{"function": f"{module}:add", "by": 1}, {"function": f"{module}:add", "by": 2, "more": 5}]
    )
    assert (second(first(zeros)) == 8).all()


@pytest.mark.parametrize("name", ["wide", "cut"])
def test_another_shape_or_type_is_refused(module, name):
    with pytest.raises(RecipeError, match=f"{name}' made .* of uint8"):
        own.step_of(f"{module}:{name}")(np.zeros((2, 2, 1), np.uint8))
