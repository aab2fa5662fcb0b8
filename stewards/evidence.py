"""Which batches show a thing.

Invariant: of two evidences for one thing the one that was complete first is kept, whatever the
order in which they are met; so what a thing rests on doesn't depend on how the facts were read.
"""

from __future__ import annotations

from typing import TypeVar

Evidence = tuple[tuple[int, str], ...]
"""``(seq, digest)`` of the batches that show a thing, oldest first."""

Key = TypeVar("Key")


def earlier(one: Evidence, other: Evidence) -> bool:
    """Whether ``one`` was complete before ``other``."""
    return (one[-1][0], one) < (other[-1][0], other)


def see(found: dict[Key, Evidence], key: Key, evidence: Evidence) -> None:
    """Keep the evidence that was complete first."""
    known = found.get(key)
    if known is None or earlier(evidence, known):
        found[key] = evidence
