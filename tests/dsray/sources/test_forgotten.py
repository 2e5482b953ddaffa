"""What a source is read without."""

from dsray import keys
from dsray.lake.tombstones import Tombstones, mark
from dsray.sources.forgotten import left
from dsray.sources.rows import good


def test_forgotten_rows_and_urls_are_left_out_and_their_payload_elsewhere_too():
    rows = [good("disk", f"file:///{name}", name.encode(), {}) for name in "abcd"]
    kept_out = Tombstones(
        rows=frozenset([mark(rows[0]["id"])]), urls=frozenset([mark("file:///b")]),
        digests=frozenset([keys.digest(b"c")]),
    )  # fmt: skip
    third, fourth = left(rows, kept_out)
    assert fourth == rows[3]
    assert third["error"] == "forgotten" and "payload" not in third and "digest" not in third
    assert third["url"] == "file:///c" and third["id"] != rows[2]["id"]
