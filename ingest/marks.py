"""Marks by which stored facts are told apart from what was done to them behind the pump's back.

Invariant: the key of an event is a keyed hash of what identifies it, its checksum one of that, its
batch and its classification; who reads the facts knows neither hash's key, which lies in the inbox.
Keys make the note of what a batch brought, checksums stand in each row.
Hash: https://www.rfc-editor.org/rfc/rfc7693
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.events import Event
from ingest.inbox import Inbox

Numbers = npt.NDArray[np.uint64]

_STATE: Final = "key of the facts' checksums"
_SIZE: Final = 8


class Marks:
    """Marks events under one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def kept_in(cls, inbox: Inbox, random: Callable[[int], bytes]) -> Marks:
        """Under the key in the inbox, made the first time; ``random(n)`` gives n secret bytes."""
        key = inbox.state(_STATE)
        if key is None:
            key = random(32).hex()
            inbox.set_state(_STATE, key)
        return cls(bytes.fromhex(key))

    def keys(self, events: Sequence[Event]) -> Numbers:
        """A number for each event, the same for the same project, source and id."""
        return self.keys_of([(e.project, e.source, e.event_id) for e in events])

    def keys_of(self, identities: Iterable[tuple[str, str, str]]) -> Numbers:
        """The same of project, source and id."""
        return self._numbers(["\0".join(identity) for identity in identities])

    def checksums(self, events: Sequence[Event], keys: Numbers, rules: str) -> Numbers:
        """The checksum of each event, of which ``keys`` are the keys."""
        return self.checksums_of(
            keys, [(e.seq, e.event_class, e.rule, e.subject, rules) for e in events]
        )

    def checksums_of(
        self, keys: Numbers, chosen: Sequence[tuple[int, str, str, str, str]]
    ) -> Numbers:
        """The same of batch, class, rule, subject and version of the rules, for each key."""
        # Few are different, and hashing each once is what keeps this cheap.
        distinct = dict.fromkeys(chosen)
        numbers = self._numbers("\0".join(map(str, each)) for each in distinct)
        known = dict(zip(distinct, numbers.tolist(), strict=True))
        return _mixed(keys ^ np.array([known[each] for each in chosen], np.uint64))

    def _numbers(self, texts: Iterable[str]) -> Numbers:
        # The key in front, as this hash allows: given apart, it costs a block of its own.
        key = self._key
        hashed = [blake2b(key + text.encode(), digest_size=_SIZE).digest() for text in texts]
        return np.frombuffer(b"".join(hashed), "<u8").astype(np.uint64, copy=False)


UNKEYED: Final = Marks(b"")
"""For facts that nobody reconciles."""


def note(keys: Sequence[Numbers]) -> bytes:
    """The keys of a batch, in parts, as the inbox notes them: each once, in order."""
    every = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    return np.unique(every).astype("<u8").tobytes()


def noted(keys: bytes) -> Numbers:
    """The keys in such a note."""
    return np.frombuffer(keys, "<u8").astype(np.uint64, copy=False)


def _mixed(values: Numbers) -> Numbers:
    """A permutation after which a change of one bit changes half of them (splitmix64's)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
