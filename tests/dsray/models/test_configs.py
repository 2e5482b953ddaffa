import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from dsray import models
from dsray.errors import RecipeError


@pytest.mark.parametrize("name", sorted(models.PRESETS))
def test_presets_survive_json_and_make_their_configuration(name):
    architecture = models.architecture(name)
    assert {"tiny", "quick"} <= set(models.PRESETS[name])
    for preset, numbers in models.PRESETS[name].items():
        config = architecture.Config(**json.loads(json.dumps(numbers)))
        assert config == architecture.PRESETS[preset] and asdict(config) == numbers


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"'gna'.*Known: dpgan, gan, merf, vae"):
        models.architecture("gna")


def test_presets_are_known_without_torch():
    code = "import sys, dsray.models; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
