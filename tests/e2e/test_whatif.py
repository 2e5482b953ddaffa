"""plan --set: the counts that it tells are those of a real run; and show --quarantine tells why rows were dropped."""

import pytest
import yaml

from dsray import build, cli, planning
from dsray import recipe as recipes
from dsray.stages.choose.quarantine import caught
from dsray.stages.choose.whatif import counts_of
from runs import Silent, lake

CHANGES = [
    {"drop.blur": {"min": 20000}},
    {"drop.blur": {"min_quantile": 0.1}, "outliers": {"signals": {"contrast": 2.5}}, "cap": {"label": 20},
     "split.stratify": True, "duplicates.radius": 6},
]  # fmt: skip


def changed(text, changes):
    data = yaml.safe_load(text)
    for path, value in changes.items():
        *way, last = path.split(".")
        here = data["select"]
        for part in way:
            here = here[part]
        here[last] = value
    return recipes.parse(yaml.safe_dump(data, sort_keys=False))


@pytest.mark.parametrize("changes", CHANGES)
def test_what_it_tells_is_what_a_run_does(built, recipe_text, ray_session, changes):
    folder, plain, outcome = built
    recipe = changed(recipe_text, changes)
    with lake(folder) as store:
        now, then = planning.compare(plain, recipe, store)
        assert now == counts_of(outcome.made["select"])
        run = build.run(recipe, store, Silent(), until="select")
        assert then == counts_of(run.made["select"])
        assert then != now and then.kept == run.made["select"].counts["kept"]
        assert planning.compare(plain, plain, store) is None


def test_plan_set_and_show_quarantine_print_it(built, recipe_file, capsys):
    folder, _, outcome = built
    where = ["--lake", f"file://{folder}"]
    code = cli.main(["plan", str(recipe_file), *where, "--set", "select.drop.blur.min=20000"])
    said = capsys.readouterr().out
    assert code == cli.WORK_TO_DO and "difference" in said and "blur" in said.split("difference")[1]
    assert cli.main(["show", "digits", *where, "--quarantine"]) == 0
    said = capsys.readouterr().out
    for rule, rows in outcome.made["select"].details["quarantine"].items():
        assert rule in said and f"{rows:,}" in said
    assert "would bring back" in said and "no min" in said and "http://" in said
    assert cli.main(["show", str(recipe_file), *where, "--quarantine"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == said.splitlines()[1:]
    assert cli.main(["show", "digits", *where, "--quarantine", "blur"]) == 0
    assert "undecodable" not in capsys.readouterr().out
    assert cli.main(["show", "digits", *where, "--quarantine", "nonsense"]) == 1
    assert cli.main(["show", *where, "--quarantine"]) == 1


def test_every_quarantined_row_is_under_its_rule(built):
    folder, _, outcome = built
    with lake(folder) as store:
        found = caught(outcome.made["collect"], outcome.made["select"], store)
    assert {one.rule: one.rows for one in found} == outcome.made["select"].details["quarantine"]
    assert all(one.examples and all(url for _, url in one.examples) for one in found)
