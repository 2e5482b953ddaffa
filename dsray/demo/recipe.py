"""The demo's recipe, in the folder of the person who runs it."""

from pathlib import Path

PORT = 8900


def write(folder: Path, port: int = PORT) -> Path:
    """Writes digits.yaml for a site on `port` into the folder, unless it is there already; returns its path."""
    path = folder / "digits.yaml"
    if not path.exists():
        path.write_text(text(port), encoding="utf-8")
    return path


def text(port: int = PORT) -> str:
    """The recipe as it ships."""
    package = Path(__file__).parents[1]
    for candidate in (package / "recipes" / "digits.yaml", package.parent / "recipes" / "digits.yaml"):
        if candidate.exists():
            return candidate.read_text(encoding="utf-8").replace(f"127.0.0.1:{PORT}/", f"127.0.0.1:{port}/")
    raise FileNotFoundError("recipes/digits.yaml is missing from this installation of dsray")
