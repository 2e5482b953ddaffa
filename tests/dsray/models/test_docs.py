"""docs/generative.md names all that is trained with: every loss, and the presets of configs.py."""

import inspect
from pathlib import Path

import pytest

from dsray.models import flow, hvae, logistic, losses
from dsray.models.configs import ARCHITECTURES, FAMILIES

PAGE = (Path(__file__).parents[3] / "docs" / "generative.md").read_text()
LOSSES = [name for name, found in inspect.getmembers(losses, inspect.isfunction) if found.__module__ == losses.__name__]
ELSEWHERE = [flow.flow_loss, logistic.log_probability, logistic.mixture_log_probability, hvae.bits_per_dim]
PRESETS = [f"{family} {name}" for family, presets in FAMILIES.items() for name in presets]


@pytest.mark.parametrize("name", [*LOSSES, *(loss.__name__ for loss in ELSEWHERE), *PRESETS, *ARCHITECTURES.values()])
def test_the_page_names_it(name):
    assert f"`{name}`" in PAGE, f"docs/generative.md says nothing of {name}"
