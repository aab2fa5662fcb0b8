"""Addresses of three kinds: public, executor and internal.

Invariant: an address is written one way, and two values of different kinds are never equal,
whatever they hold, so that none can be taken for another. An authority tells what routing and
protection at the edge go by: the host in lower case, and the port where that is neither 80 nor 443.
What is read here has no user name, query, fragment or dot segment: it is what paths are added to.
Syntax: https://www.rfc-editor.org/rfc/rfc3986
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar, Self

from runtime.errors import UrlError

MAX_ADDRESS = 2000

_ADDRESS = re.compile(
    r"(https?)://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?"
    r"(/[a-z0-9._~%:@+,=/-]*)?",
    re.ASCII | re.IGNORECASE,
)
_USUAL = {"http": 80, "https": 443}
_OF_CLUSTER = re.compile(r"(?:.*\.)?(?:localhost|svc|cluster\.local)\.?|.*\.svc\..*")
# Forms of an IPv4 address that a host name can't have and resolvers take.
_SHORT_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){0,2}|0x[0-9a-f]+(?:\..*)?")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "::/127", "::ffff:0:0/96", "fc00::/7", "fe80::/10"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Url:
    """An address of some kind; see :meth:`parse`."""

    address: str
    kind: ClassVar[str] = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address in this text, written the one way. Raises :class:`UrlError`."""
        found = _ADDRESS.fullmatch(text) if len(text) <= MAX_ADDRESS else None
        if found is None:
            raise UrlError(
                "it must be http:// or https://, a host, perhaps a port and a path, without user"
                " name, query and fragment"
            )
        scheme, host, port, path = found.groups()
        scheme, path = scheme.lower(), path or "/"
        if port is not None and not 0 < int(port) < 65536:
            raise UrlError("its port must be 1 to 65535")
        if {".", ".."} & set(path.split("/")):
            raise UrlError("its path has a segment of dots")
        shown = "" if port is None or int(port) == _USUAL[scheme] else f":{int(port)}"
        made = cls(f"{scheme}://{host.lower()}{shown}{path}")
        made.check()
        return made

    def check(self) -> None:
        """Raises :class:`UrlError` for an address that can't be of this kind."""

    @property
    def authority(self) -> str:
        authority = self.address.partition("://")[2].partition("/")[0]
        return re.sub(r":(?:80|443)$", "", authority)


@dataclass(frozen=True, slots=True)
class PublicUrl(Url):
    """A human-facing route, safe for browsers and often protected at the edge."""

    kind: ClassVar[str] = "public"

    def check(self) -> None:
        if is_internal(self.authority):
            raise UrlError(
                f"{self.authority} is a loopback, private or link-local address or a name inside a"
                " cluster, where no public URL leads: call it internal, or executor"
            )


@dataclass(frozen=True, slots=True)
class ExecutorUrl(Url):
    """A machine-facing control path: machine control uses it and nothing else."""

    kind: ClassVar[str] = "executor"


@dataclass(frozen=True, slots=True)
class InternalUrl(Url):
    """An address by which the organisation's own services reach one another."""

    kind: ClassVar[str] = "internal"


def is_internal(authority: str) -> bool:
    """Whether an authority says by its form alone that it isn't for the public. Names are not
    resolved: where one leads is known when it is called."""
    if authority.startswith("["):
        host = authority.partition("]")[0].removeprefix("[")
    else:
        host = authority.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(_OF_CLUSTER.fullmatch(host) or _SHORT_ADDRESS.fullmatch(host))
    return any(address in network for network in _NOT_PUBLIC)
