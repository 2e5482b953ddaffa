"""crawlers.known: a record is the same in memory, in a table and on the lake."""

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from invented import known_ones

from crawlers import urls
from crawlers.known import ITEM, KNOWN, PAGE, Known, records, table
from dsray.lake import shards


@given(known_ones())
def test_records_survive_a_table_and_parquet(known):
    made = table(known)
    assert made.schema == KNOWN
    assert list(records(made)) == known
    assert list(records(pq.read_table(pa.BufferReader(shards.encode(made))))) == list(records(made))


def test_a_record_knows_its_key_and_whom_its_request_goes_to():
    item = Known("http://a.org:80/x?b=1&a=2", ITEM)
    assert item.key == urls.key(ITEM, "http://a.org/x?a=2&b=1") != Known(item.url, PAGE).key
    assert item.host == "a.org" and Known(item.url, ITEM, at="http://b.org:81/y").host == "b.org:81"
    assert Known("data:,x", ITEM).host == "" and Known("data:,x", ITEM).texts == {}
