"""Addresses are written one way, and no kind is taken for another."""

from __future__ import annotations

import pytest

from runtime.errors import UrlError
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl, Url, is_internal

WRITTEN = {
    "https://Shop.Example.org": ("https://shop.example.org/", "shop.example.org"),
    "HTTPS://shop.example.org:443/": ("https://shop.example.org/", "shop.example.org"),
    "http://shop.example.org:443/": ("http://shop.example.org:443/", "shop.example.org"),
    "http://box:8080/a/b": ("http://box:8080/a/b", "box:8080"),
    "http://box:08080": ("http://box:8080/", "box:8080"),
    "http://[FD00::7]:80": ("http://[fd00::7]/", "[fd00::7]"),
    "http://web.shop.svc/A%20b": ("http://web.shop.svc/A%20b", "web.shop.svc"),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_an_address_is_written_one_way(text: str) -> None:
    url = InternalUrl.parse(text)
    assert (url.address, url.authority) == WRITTEN[text]
    assert InternalUrl.parse(url.address) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "box", "//box/", "ftp://box/", "http://", "http:///a", "https://ann:secret@box/"),
        *(
            "https://@box/",
            "http://box/?a=1",
            "http://box/#a",
            "http://box:0/",
            "http://box:65536/",
        ),
        *("http://box/a/../b", "http://box/.", "http://box/a b", "http://box/\n", "http://bóx/"),
        *("http://box\\@other/", "http://box/$(id)", "http://box/" + "a" * 2000, "http://[::1"),
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(UrlError) as caught:
        ExecutorUrl.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "a.localhost", "localhost.", "web.shop.svc", "a.svc.cluster.local", "svc"),
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "0.0.0.0"),
        *("169.254.169.254", "127.1", "2130706433", "0x7f000001", "0x7f.1", "[::1]", "[::]"),
        *("[fe80::1]", "[fd12::1]", "[::ffff:10.0.0.1]"),
    ],
)
def test_no_public_url_leads_inside(host: str) -> None:
    assert is_internal(host)
    assert is_internal(f"{host}:8080")
    with pytest.raises(UrlError, match="no public URL leads"):
        PublicUrl.parse(f"https://{host}:8443/")
    assert ExecutorUrl.parse(f"https://{host}/").kind == "executor"


@pytest.mark.parametrize(
    "host",
    ["example.org", "svc.example.org.uk", "10.example.org", "172.32.0.1", "8.8.8.8", "[2606::1]"],
)
def test_others_may_be_public(host: str) -> None:
    assert not is_internal(host)
    assert PublicUrl.parse(f"https://{host}/").address == f"https://{host}/"


def test_equal_addresses_of_two_kinds_are_not_equal() -> None:
    kinds: list[type[Url]] = [PublicUrl, ExecutorUrl, InternalUrl]
    urls = [kind.parse("https://shop.example.org/") for kind in kinds]
    assert len(set(urls)) == 3
    assert [url.kind for url in urls] == ["public", "executor", "internal"]
