"""benchmarks.scale and benchmarks.simulated: a lake of names is planned as a real one, and drawn."""

from xml.etree import ElementTree

from benchmarks import simulated
from benchmarks.scale import Quiet, plot, scale
from dsray import build, cost, planning


def test_a_simulated_build_is_up_to_date_until_the_crawl_brings_others():
    store, wanted = simulated.Simulated(), simulated.recipe()
    simulated.built(store, wanted, 20)
    assert build.run(wanted, store, Quiet()).up_to_date
    simulated.crawled(store, wanted, 20, 3)
    found = cost.estimates(planning.plan(wanted, store), wanted, store)
    assert (found["measure"].shards, found["measure"].reused, found["label"].shards) == (3, 17, 3)


def test_the_plot_has_a_point_each_count_and_side():
    found = {count: scale(count) for count in (10, 100)}
    assert all(seconds > 0 for sides in found.values() for seconds in sides)
    drawing = ElementTree.fromstring(plot(found))
    assert len(drawing.findall("{http://www.w3.org/2000/svg}circle")) == 4
