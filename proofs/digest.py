"""The graph state digest: a homomorphic hash over the set of canonical quads.

Invariant: the state depends on the set of lines alone, not on their order or on the path that led
there; adding and removing a line cancel exactly. So a commit updates it in O(delta), and an audit
that hashes the whole graph must arrive at the same digest.

The construction is LtHash with 1024 lanes of 16 bits (Lewi et al., "Securing Update Propagation
with Homomorphic Hashing", https://eprint.iacr.org/2019/227), each line expanded with SHAKE128.
It is a *set* hash: a caller adds a line once, since 65,536 copies of one line vanish.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

from proofs.errors import FormatError

LANES = 1024
STATE_SIZE = 2 * LANES
"""Bytes of a serialised state: 1024 little-endian unsigned 16-bit lanes."""

_BATCH = 512
# Half a thousand expanded lines make 1 MiB, which stays in the cache while it is summed.


class GraphState:
    """The digest of a set of canonical N-Quads lines (``<s> <p> <o> <g> .\\n`` in UTF-8)."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: npt.NDArray[np.uint16] | None = None) -> None:
        self._lanes = np.zeros(LANES, dtype=np.uint16) if lanes is None else lanes

    @classmethod
    def empty(cls) -> GraphState:
        """The state of a graph without quads."""
        return cls()

    @classmethod
    def from_bytes(cls, data: bytes) -> GraphState:
        """The state that :meth:`to_bytes` wrote (2048 bytes)."""
        if len(data) != STATE_SIZE:
            raise FormatError(f"a graph state has {STATE_SIZE} bytes, not {len(data)}")
        return cls(np.frombuffer(data, dtype="<u2").astype(np.uint16))

    def to_bytes(self) -> bytes:
        """The 1024 lanes, each as a little-endian uint16."""
        return self._lanes.astype("<u2").tobytes()

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines that are not in the set."""
        self._lanes += _sum(lines)

    def remove(self, lines: Iterable[bytes]) -> None:
        """Remove lines that are in the set."""
        self._lanes -= _sum(lines)

    def copy(self) -> GraphState:
        """An independent state of the same set."""
        return GraphState(self._lanes.copy())

    def digest(self) -> str:
        """The SHA-256 of the serialised state, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GraphState):
            return NotImplemented
        return bool(np.array_equal(self._lanes, other._lanes))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"GraphState({self.digest()})"


def _sum(lines: Iterable[bytes]) -> npt.NDArray[np.uint16]:
    """The lanes of all lines together; nothing is applied when one of them is refused."""
    shake = hashlib.shake_128
    total = np.zeros(LANES, dtype=np.uint16)
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH)):
        for line in batch:
            if line[-3:] != b" .\n":
                raise FormatError(
                    f"a canonical quad ends with ' .' and a newline, not with {line[-12:]!r}; "
                    "hash the canonical N-Quads lines as they are"
                )
        expanded = b"".join([shake(line).digest(STATE_SIZE) for line in batch])
        table = np.frombuffer(expanded, dtype="<u2").reshape(len(batch), LANES)
        total += np.add.reduce(table, axis=0, dtype=np.uint16)
    return total
