"""What stands for this machine: the one place where a loopback address is spelled.

Invariant: what is told to be on this machine is; a name that a resolver decides about isn't, but
for ``localhost``: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = "127.0.0.1"
LOCALHOST: Final = "localhost"
_REACHED_AT: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}
"""Where what listens on every address is reached from here."""


def local_url(host: str, port: int) -> str:
    """The URL by which this machine reaches a server that listens on a host and port of its own."""
    reached = _REACHED_AT.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, so that nothing leaves it."""
    host = urlsplit(url).hostname or ""
    if host == LOCALHOST or host.endswith(f".{LOCALHOST}"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
