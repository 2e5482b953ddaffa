"""private: what a manifest says of a promise, whole and in JSON."""

import json

from dsray.models.privacy import ACCOUNTANTS, spent
from dsray.report.private import NOT_COVERED, UNIT, Private, documented


def test_a_manifest_says_epsilon_delta_accountant_unit_and_what_is_not_covered():
    weights = {"private.epsilon": 9.5, "private.delta": 1e-5, "private.sigma": 0.7}
    said = json.loads(json.dumps(documented(Private("merf", **spent(weights), accountant=ACCOUNTANTS["merf"]))))
    assert (said["epsilon"], said["delta"], said["sigma"]) == (9.5, 1e-5, 0.7)
    assert said["unit"] == UNIT and said["not_covered"] == list(NOT_COVERED) and "Gaussian" in said["accountant"]


def test_the_promise_is_said_in_a_line():
    assert Private("dpgan", 1.0, 1e-6, 2.0, "x").promise == "(1, 1e-06)-differential privacy"
