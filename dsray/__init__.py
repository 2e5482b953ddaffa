"""dsray builds training datasets, and builds them again: one recipe from a website to versioned Parquet shards."""

from typing import TYPE_CHECKING, Any

from dsray.version import __version__

if TYPE_CHECKING:
    from dsray.dataset import Dataset

__all__ = ["__version__", "load"]


def load(name: str, split: str | None = None, lake: str | None = None, **options: Any) -> "Dataset":
    """A released dataset: `load("digits@v3", split="train")` gives `.pandas()`, `.torch()`, `.hf()` and `.ray()`."""
    from dsray.dataset import load as load_dataset

    return load_dataset(name, split, lake, **options)
