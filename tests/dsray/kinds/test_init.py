import subprocess
import sys

import pytest

from dsray.kinds import KINDS, Kind, kind


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_offers_all_that_stages_call(name: str) -> None:
    of_kind = kind(name)
    wanted = {member for member in vars(Kind) if not member.startswith("_")} | set(Kind.__annotations__)
    assert wanted >= {"measure", "render", "thumbnail", "plan", "apply", "to_arrays", "from_arrays", "FACTS"}
    for member in wanted:
        assert hasattr(of_kind, member), member


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError, match="image"):
        kind("smell")


def test_decoders_are_imported_only_when_a_kind_is_asked_for() -> None:
    script = "import sys, dsray.kinds; print(sorted({'cv2', 'PIL', 'numpy', 'pyarrow', 'torch'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_the_image_kind_needs_no_torch() -> None:
    script = "import sys; from dsray.kinds import kind; kind('image'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "False"
