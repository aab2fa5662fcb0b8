"""Where targets of each kind may lead."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import HttpRefused
from runtime.http_addresses import KINDS, PeerUrl, literal, permitted, refusal

ANY = ipaddress.ip_address
OTHERS = [kind for kind in KINDS if kind != "public"]

NOWHERE = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "240.1.2.3",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
]
INTERNAL = [
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "fd12:3456::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:0a00:0001::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("address", NOWHERE)
def test_no_kind_leads_there(kind: str, address: str) -> None:
    with pytest.raises(HttpRefused, match="no request goes there"):
        literal(kind, address)
    with pytest.raises(HttpRefused, match="some-name leads to"):
        permitted(kind, "some-name", [address])


@pytest.mark.parametrize("address", INTERNAL)
def test_what_is_not_of_the_internet_is_for_all_but_public_targets(address: str) -> None:
    with pytest.raises(HttpRefused):
        literal("public", address)
    for kind in OTHERS:
        assert literal(kind, address) == ANY(address)
        assert permitted(kind, "name", [address]) == [ANY(address)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("address", PUBLIC)
def test_every_kind_leads_to_the_internet(kind: str, address: str) -> None:
    assert literal(kind, address) == ANY(address)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "1.2.3.4.",
        "127.0.0.1.",
        "a.0x10",
        "256.1.1.1",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "a b",
        "a/b",
        "a@b",
        "-a",
        "",
        ".",
        "\u2460.example",
        "\uff11\uff12\uff17.0.0.1",
        "a" * 254,
    ],
)
def test_a_host_that_could_be_read_as_another_is_none(kind: str, host: str) -> None:
    with pytest.raises(HttpRefused):
        literal(kind, host)


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "db.svc", "db.ns.svc.cluster.local", "x.cluster.local."]
)
def test_a_name_inside_a_cluster_is_not_even_asked_for_a_public_target(host: str) -> None:
    with pytest.raises(HttpRefused, match="no public URL leads there"):
        literal("public", host)
    assert literal("internal", host) is None


def test_a_name_that_leads_out_and_in_is_no_public_one() -> None:
    found = ["8.8.8.8", "10.0.0.1"]
    with pytest.raises(HttpRefused, match="not of the public Internet"):
        permitted("public", "rebound.example", found)
    assert permitted("executor", "rebound.example", found) == [ANY(one) for one in found]


def test_of_several_addresses_those_are_left_that_may_be() -> None:
    found = ["fe80::5%eth0", "169.254.1.1", "10.0.0.1"]
    assert permitted("internal", "printer.local", found) == [ANY("10.0.0.1")]
    assert permitted("internal", "printer.local", []) == []


def test_a_kind_that_is_none_leads_nowhere() -> None:
    with pytest.raises(HttpRefused, match="some kind"):
        literal("", "1.1.1.1")


V4 = st.ip_addresses(v=4)


@given(V4, st.sampled_from(KINDS))
def test_an_address_in_another_is_judged_as_itself(
    address: ipaddress.IPv4Address, kind: str
) -> None:
    """Mapped it is that address; behind a gateway it is no better than that address."""
    plain = refusal(kind, address)
    number = int(address)
    assert refusal(kind, ipaddress.IPv6Address((0xFFFF << 32) | number)) == plain
    if plain:
        assert refusal(kind, ipaddress.IPv6Address((0x64FF9B << 96) | number))
        assert refusal(kind, ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1))


@given(st.ip_addresses(), st.sampled_from(OTHERS))
def test_a_public_target_leads_to_less_than_any_other(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, kind: str
) -> None:
    if refusal(kind, address):
        assert refusal("public", address)
    if not refusal("public", address):
        assert address.is_global


@given(V4, st.sampled_from(["{0:d}", "{0:#x}", "{0:#o}", "0{0:o}"]), st.sampled_from(KINDS))
def test_numbers_of_any_base_are_no_hosts(
    address: ipaddress.IPv4Address, form: str, kind: str
) -> None:
    host = form.format(int(address))
    if host.startswith("0o"):
        return
    with pytest.raises(HttpRefused):
        literal(kind, host)


@given(st.text(max_size=30), st.sampled_from(KINDS))
def test_what_the_system_takes_for_an_address_is_one_here_or_refused(host: str, kind: str) -> None:
    """inet_aton reads more than anybody means; a host that it reads is canonical, or no host."""
    try:
        read = socket.inet_aton(host)
    except (OSError, UnicodeError, ValueError):
        return
    try:
        address = literal(kind, host)
    except HttpRefused:
        return
    assert address is not None
    assert address.packed == read


def test_a_peer_is_none_of_the_three_kinds() -> None:
    assert PeerUrl.parse("HTTP://Example.COM:80").address == "http://example.com/"
    assert PeerUrl.parse("https://a/").kind == "peer"
