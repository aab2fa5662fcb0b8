"""Who sends telemetry, as far as an ingest key says.

Invariant: a sender is trusted only when its key was made for servers and the request didn't come
from a page: a key that a browser holds is public, and whoever reads it there can send with it.
Source: https://fetch.spec.whatwg.org/#origin-header, which browsers set and pages can't leave out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sender:
    """The project that an ingest key belongs to, the key's id (not its secret), and whether what it
    sends may bring new things into the graph by itself."""

    project: str
    key: str = ""
    trusted: bool = True

    def from_page(self) -> Sender:
        """The same sender, seen sending from a page."""
        return Sender(self.project, self.key, trusted=False)


FindSender = Callable[[str], Sender | None]
"""The sender that an ingest key stands for, ``None`` for a key that is not valid (any more)."""
