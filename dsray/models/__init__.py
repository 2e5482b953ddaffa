"""Generative models in plain torch: arrays in, weights out. Torch is imported when an architecture is asked for.

An architecture is a module with `Config`, `PRESETS`, `start` (→ Training) and, for `draw.sample`, `latents` and
`painter`; `judge`, if it keeps its discriminator; PATH, if a `walk` through its latents is no arc. A recipe names a
family of them (`gan`) and a preset, which may be of another architecture than the rest (`dcgan`).
"""

from dataclasses import asdict
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from dsray.errors import RecipeError
from dsray.models.configs import ARCHITECTURES, FAMILIES


class Preset(NamedTuple):
    """An architecture and its numbers, as JSON can say them."""

    architecture: str
    config: dict[str, Any]


def preset(family: str, name: str) -> Preset:
    """The preset of a family, which exists. Raises RecipeError naming the family's presets."""
    presets = FAMILIES[family]
    if name not in presets:
        raise RecipeError(
            f"synthesize.{family}.preset: there is no preset '{name}'.", f"Known: {', '.join(sorted(presets))}."
        )
    return Preset(ARCHITECTURES[type(presets[name])], asdict(presets[name]))


def architecture(name: str) -> ModuleType:
    """The module of an architecture. Raises RecipeError naming the known ones."""
    known = sorted(ARCHITECTURES.values())
    if name not in known:
        raise RecipeError(f"There is no architecture '{name}'.", f"Known: {', '.join(known)}.")
    return import_module(f"dsray.models.{name}")
