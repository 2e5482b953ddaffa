"""Steps of the recipe's own on arrays: `module:function`, which keeps shape and type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsray import plugin
from dsray.errors import RecipeError
from dsray.kinds import Touch


def step_of(name: str, /, *given: Any, **options: Any) -> Touch:
    """The function of that name with all arguments but the array. Raises RecipeError when it makes another kind of
    array."""
    function = plugin.load(name)

    def step(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        made = np.asarray(function(array, *given, **options))
        if (made.shape, made.dtype) != (array.shape, array.dtype):
            raise RecipeError(
                f"{name!r} made {made.dtype} {made.shape} of {array.dtype} {array.shape}.",
                "A step of your own keeps shape and type.",
            )
        return made

    return step


def steps(said: Sequence[Mapping[str, Any]]) -> list[Touch]:
    """Each with `function` and its options."""
    return [step_of(one["function"], **{k: v for k, v in one.items() if k != "function"}) for one in said]
