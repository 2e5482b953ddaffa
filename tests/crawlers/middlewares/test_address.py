"""Which addresses may be asked."""

import pytest

from crawlers.middlewares.address import forbidden

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "240.0.0.1",
]
CARRIED = ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::ffff:10.0.0.1"]
NEVER = ["169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "192.0.0.192", "168.63.129.16"]
NEVER += ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE + CARRIED)
def test_private_addresses_are_for_those_who_allow_them(address):
    assert forbidden(address, allow_private=False)
    assert not forbidden(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_multicast_and_unspecified_are_for_nobody(address):
    assert forbidden(address, allow_private=False)
    assert forbidden(address, allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address):
    assert not forbidden(address, allow_private=False)
