"""Where a request may go, by the kind of its target.

Invariant: what is judged is the address that a connection is made to, not the name it was found by;
a host that is written so that another reader could take it for another address is refused. No kind
of target leads to a link-local address, to one where clouds answer with credentials, to everybody
or to nobody; a public one leads to an address of the public Internet and nowhere else.
Source: https://www.iana.org/assignments/iana-ipv4-special-registry,
https://www.iana.org/assignments/iana-ipv6-special-registry
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Final

from runtime.errors import HttpRefused
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl, Url, is_internal

IpAddress = IPv4Address | IPv6Address

KINDS: Final = ("public", "executor", "internal", "peer")

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?", re.ASCII)
# As browsers read it: a host whose last label is a number is an IPv4 address, or nothing.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_NEVER: Final = tuple(
    (ipaddress.ip_network(network), what)
    for what, networks in (
        ("a link-local address", ("169.254.0.0/16", "fe80::/10", "fec0::/10")),
        (
            "an address where a cloud tells its machines their credentials",
            (
                *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
                *("fd00:ec2::/32", "fd20:ce::254/128"),
            ),
        ),
        ("an address of nobody", ("0.0.0.0/8", "::/128", "240.0.0.0/4")),
        ("an address of many", ("224.0.0.0/4", "ff00::/8")),
    )
    for network in networks
)
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


@dataclass(frozen=True, slots=True)
class PeerUrl(Url):
    """A server that an operator has named in a setting, an option or a statement, wherever it is:
    the platform itself, the product behind a project, a hypervisor."""

    kind: ClassVar[str] = "peer"


Target = PublicUrl | ExecutorUrl | InternalUrl | PeerUrl


def literal(kind: str, host: str) -> IpAddress | None:
    """The address that a host is written as, ``None`` for a name. ``host`` is that of a URL in
    ASCII, without brackets. Raises :class:`HttpRefused` where this kind of target never leads."""
    host = host.lower()
    if kind not in KINDS:
        raise HttpRefused("an address has to be of some kind: public, executor, internal or a peer")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        why = refusal(kind, address)
        if why:
            raise HttpRefused(f"{host} is {why}: no request goes there")
        return address
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise HttpRefused("an IPv4 address is written as four decimal numbers with dots between")
    if not _HOST.fullmatch(host):
        raise HttpRefused("its host is neither a name nor an address")
    if kind == PublicUrl.kind and is_internal(host):
        raise HttpRefused(
            f"{host} is a name inside a machine or a cluster: no public URL leads there"
        )
    return None


def permitted(kind: str, host: str, found: Sequence[str]) -> list[IpAddress]:
    """The addresses a name resolved to, as far as this kind of target may lead there, in their
    order. Raises :class:`HttpRefused` where none is left, and for a public target where one of them
    isn't public: such a name is on its way elsewhere."""
    kept: list[IpAddress] = []
    why = ""
    for text in found:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        because = refusal(kind, address)
        why = why or because
        if not because:
            kept.append(address)
    if why and (kind == PublicUrl.kind or not kept):
        raise HttpRefused(f"{host} leads to {why}: no request goes there")
    return kept


def refusal(kind: str, address: IpAddress) -> str:
    """What an address is that this kind of target never leads to; empty where it may."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    for one in (address, *_within(address)):
        for network, what in _NEVER:
            if one in network:
                return what
        if kind == PublicUrl.kind and not one.is_global:
            return "an address that is not of the public Internet"
    return ""


def _within(address: IpAddress) -> list[IpAddress]:
    """The IPv4 addresses that a gateway could take this one for."""
    if isinstance(address, IPv4Address):
        return []
    found: list[IpAddress] = []
    if any(address in network for network in _TRANSLATED) and int(address) > 1:
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return found
