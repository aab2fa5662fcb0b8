"""The keys of one log, in the order in which they held.

Invariant: a log keeps its name and has one key at a time. An entry of kind ``rotation`` hands it
on: it names the key before and the key after, in full, and both have signed it, so that neither can
be taken over without the other. The key after signs from that entry's checkpoint on, and no key
returns. All of it is read from such entries alone, by the journal and offline alike.
The name of a note's key may stay while its hash tells keys apart: https://c2sp.org/signed-note
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.checkpoint import ED25519, Checkpoint, VerifierKey, open_checkpoint, parse_note
from proofs.errors import InvalidSignature, MalformedKey, MalformedStatement
from proofs.statement import Envelope, Proof, load_canonical_json, open_envelope, parse_envelope

MAX_ROTATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """A key and the index of the entry from which it held."""

    since: int
    key: VerifierKey


class LogKeys:
    """The keys of a log; any thread may use it while one adds a key."""

    def __init__(self, first: VerifierKey) -> None:
        self._held: tuple[Held, ...] = (Held(0, first),)

    @classmethod
    def read(cls, current: VerifierKey, rotations: Sequence[tuple[int, bytes]]) -> LogKeys:
        """The keys that lead to ``current`` by these entries (index and leaf), in their order.

        Raises :class:`proofs.errors.ProofError` where they don't."""
        keys = cls(current)
        if rotations:
            keys = cls(_handover(rotations[0][1])[0])
        if len(rotations) > MAX_ROTATIONS:
            raise MalformedStatement(f"a log has at most {MAX_ROTATIONS} keys")
        for index, leaf in rotations:
            keys.rotate(index, leaf)
        if keys.current != current:
            raise InvalidSignature(
                f"the log's key is {keys.current.label} by its entries, not {current.label}"
            )
        return keys

    def rotate(self, index: int, leaf: bytes) -> None:
        """Takes the entry that hands the log on. Raises :class:`proofs.errors.ProofError`."""
        old, new = _handover(leaf)
        if old != self.current or index <= self._held[-1].since:
            raise InvalidSignature(
                f"entry {index} hands on the key {old.label}, and the log's is {self.current.label}"
            )
        check_successor(self, new)
        opened = open_envelope(leaf, [old, new])
        if Proof.from_dict(opened.statement["predicate"]).index != index:
            raise MalformedStatement(f"the entry that is to be entry {index} is another one")
        if set(opened.verified) != {old.label, new.label}:
            raise InvalidSignature(f"entry {index} hands the log on and lacks a signature of both")
        self._held = (*self._held, Held(index, new))

    @property
    def current(self) -> VerifierKey:
        return self._held[-1].key

    @property
    def name(self) -> str:
        """The log's own: its origin."""
        return self.current.name

    @property
    def held(self) -> tuple[Held, ...]:
        """Every key, the first one first."""
        return self._held

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all keys, the present one last."""
        return tuple(item.key.label for item in self._held)

    @property
    def rotations(self) -> tuple[int, ...]:
        """The indices of the entries that handed the log on."""
        return tuple(item.since for item in self._held[1:])

    def at(self, index: int) -> VerifierKey:
        """The key that signs entry ``index``, and the checkpoint that ends with it."""
        return next(item.key for item in reversed(self._held) if item.since <= index)

    def open_entry(self, leaf: bytes, index: int) -> Envelope:
        """The statement of entry ``index``, signed by the key that held. Raises as
        :func:`proofs.statement.open_envelope` does."""
        return open_envelope(leaf, [self.at(max(index, 0))])

    def open_checkpoint(self, note: str | bytes) -> Checkpoint:
        """The checkpoint in a note that was signed by the key that held at its size. Raises as
        :func:`proofs.checkpoint.open_checkpoint` does."""
        size = Checkpoint.parse(parse_note(note).text).size
        return open_checkpoint(note, self.at(max(size - 1, 0)))


def last_key(rotations: Sequence[tuple[int, bytes]]) -> VerifierKey | None:
    """The key that these entries hand the log to; ``None`` without any. Nothing is verified."""
    return _handover(rotations[-1][1])[1] if rotations else None


def check_successor(keys: LogKeys, new: VerifierKey) -> None:
    """Whether a key may follow those. Raises :class:`MalformedKey`."""
    if new.name != keys.name or new.algorithm != ED25519:
        raise MalformedKey(f"the key {new.label} is not one of log {keys.name}")
    if new.label in keys.labels:
        raise MalformedKey(f"the key {new.label} has been the log's before, and none returns")


def _handover(leaf: bytes) -> tuple[VerifierKey, VerifierKey]:
    """The keys before and after, as an entry states them; nothing is verified here."""
    payload, _ = parse_envelope(leaf)
    value = load_canonical_json(payload, "the statement")
    proof = Proof.from_dict(value.get("predicate") if isinstance(value, dict) else None)
    if proof.rotation is None:
        raise MalformedStatement(
            f"entry {proof.index} is of kind {proof.kind} and hands nothing on"
        )
    return VerifierKey.parse(proof.rotation.before), VerifierKey.parse(proof.rotation.after)
