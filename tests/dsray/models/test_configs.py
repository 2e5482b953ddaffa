import json
import subprocess
import sys
from typing import get_args

import pytest

from dsray import models, recipe
from dsray.errors import RecipeError
from dsray.models.configs import ARCHITECTURES, FAMILIES


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_presets_survive_json_and_make_their_configuration(family):
    assert {"tiny", "quick"} <= set(FAMILIES[family])
    for name, config in FAMILIES[family].items():
        preset = models.preset(family, name)
        architecture = models.architecture(preset.architecture)
        assert architecture.Config(**json.loads(json.dumps(preset.config))) == config
        assert config in architecture.PRESETS.values()


def test_a_recipe_knows_every_family():
    assert set(get_args(recipe.Family)) == set(FAMILIES)


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(RecipeError, match=f"'gna'.*Known: {', '.join(sorted(ARCHITECTURES.values()))}"):
        models.architecture("gna")


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(RecipeError, match=r"no preset 'huge'.*quick"):
        models.preset("gan", "huge")


def test_presets_are_known_without_torch():
    code = "import sys, dsray.models; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
