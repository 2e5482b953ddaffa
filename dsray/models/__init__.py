"""Generative models in plain torch: arrays in, weights out. Torch is imported when an architecture is asked for.

An architecture is a module with `Config`, `PRESETS`, `start` (→ Training) and `sample`.
"""

from dataclasses import asdict
from importlib import import_module
from types import ModuleType
from typing import Any

from dsray.errors import RecipeError
from dsray.models.configs import DPGAN_PRESETS, GAN_PRESETS, MERF_PRESETS, VAE_PRESETS

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "dpgan": {name: asdict(config) for name, config in DPGAN_PRESETS.items()},
    "gan": {name: asdict(config) for name, config in GAN_PRESETS.items()},
    "merf": {name: asdict(config) for name, config in MERF_PRESETS.items()},
    "vae": {name: asdict(config) for name, config in VAE_PRESETS.items()},
}
"""Architecture → preset → its numbers, as JSON can say them."""


def architecture(name: str) -> ModuleType:
    """The module of an architecture. Raises RecipeError naming the known ones."""
    if name not in PRESETS:
        raise RecipeError(f"There is no architecture '{name}'.", f"Known: {', '.join(sorted(PRESETS))}.")
    return import_module(f"dsray.models.{name}")
