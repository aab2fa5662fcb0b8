"""The Merkle tree of the log: hashes, the compact frontier, inclusion and consistency proofs.

Invariant: everything here is a pure function of leaf hashes; leaves and inner nodes are hashed
under different prefixes, so that one can never stand for the other.
Specifications: https://www.rfc-editor.org/rfc/rfc6962#section-2.1 (hashes, proofs) and
https://www.rfc-editor.org/rfc/rfc9162#section-2.1 (the verification algorithms).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from proofs.errors import FormatError, InvalidMerkleProof

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""

MAX_SIZE = 2**63 - 1
"""The largest tree size the checkpoint ecosystem reads (a signed 64-bit number)."""

NodeReader = Callable[[int, int], bytes]
"""``node(level, index)``: the hash over leaves ``[index * 2**level, (index + 1) * 2**level)``."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf's bytes, 32 bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from_hashes(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over the given leaf hashes, in order."""
    return Frontier.over(leaf_hashes).root()


class Frontier:
    """The right edge of a growing tree: one hash per set bit of its size.

    ``hashes`` are the roots of the perfect subtrees, the largest first. Appending costs
    O(log n) at worst and O(1) on average; the frontier of a tree with a billion leaves has
    at most thirty hashes.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise FormatError(f"a tree size lies between 0 and 2**63 - 1, not {size}")
        if len(hashes) != size.bit_count():
            raise FormatError(
                f"the frontier of a tree of {size} leaves has {size.bit_count()} hashes, "
                f"not {len(hashes)}"
            )
        for item in hashes:
            _check_hash(item)
        self._size = size
        self._hashes = list(hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, the largest first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add the leaf hash ``leaf`` (32 bytes) at the right."""
        _check_hash(leaf)
        item = leaf
        carry = self._size
        while carry & 1:
            item = node_hash(self._hashes.pop(), item)
            carry >>= 1
        self._hashes.append(item)
        self._size += 1

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        return _fold(self._hashes)

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        return Frontier(self._size, self._hashes)

    def to_bytes(self) -> bytes:
        """The size as a big-endian uint64, then the hashes, the largest subtree first."""
        return self._size.to_bytes(8, "big") + b"".join(self._hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """The frontier that :meth:`to_bytes` wrote; :class:`FormatError` on anything else."""
        if len(data) < 8 or (len(data) - 8) % HASH_SIZE:
            raise FormatError(f"a frontier has 8 + n * 32 bytes, not {len(data)}")
        hashes = [data[at : at + HASH_SIZE] for at in range(8, len(data), HASH_SIZE)]
        return cls(int.from_bytes(data[:8], "big"), hashes)

    @classmethod
    def over(cls, leaf_hashes: Iterable[bytes]) -> Frontier:
        """The frontier of a tree with these leaf hashes."""
        frontier = cls()
        for item in leaf_hashes:
            frontier.append(item)
        return frontier

    @classmethod
    def of(cls, size: int, node: NodeReader) -> Frontier:
        """The frontier of the first ``size`` leaves of a stored tree."""
        return cls(size, [node(level, index) for level, index in _subtrees(0, size)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frontier):
            return NotImplemented
        return self._size == other._size and self._hashes == other._hashes

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Frontier(size={self._size}, root={self.root().hex()})"


def nodes_of(leaf: Callable[[int], bytes]) -> NodeReader:
    """A node reader over leaf hashes alone, for trees small enough to hash again each time."""

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return leaf(index)
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


def tree_root(size: int, node: NodeReader) -> bytes:
    """The root of the first ``size`` leaves of a stored tree."""
    return _range_root(0, size, node)


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, the leaf's sibling first."""
    if not 0 <= index < size:
        raise FormatError(f"leaf {index} is not in a tree of {size} leaves; ask below its size")
    begin, end = 0, size
    path: list[bytes] = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(begin, middle, node))
            begin = middle
    path.reverse()
    return path


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """The proof that the tree of ``old`` leaves is a prefix of the tree of ``new`` leaves.

    It is empty when ``old`` is 0 or both sizes are equal.
    """
    if not 0 <= old <= new:
        raise FormatError(f"a tree never shrinks: {old} leaves can't be older than {new} leaves")
    if old in (0, new):
        return []
    begin, end = 0, new
    path: list[bytes] = []
    while end != old:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(begin, middle, node))
            begin = middle
    if begin:
        path.append(_range_root(begin, end, node))
    path.reverse()
    return path


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise :class:`InvalidMerkleProof` unless ``leaf`` (a leaf hash) sits at ``index``.

    The algorithm is RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise InvalidMerkleProof(f"leaf {index} can't be in a tree of {size} leaves")
    fn, sn = index, size - 1
    result = leaf
    for item in proof:
        if len(item) != HASH_SIZE:
            raise InvalidMerkleProof(f"a hash of the inclusion proof has {len(item)} bytes, not 32")
        if sn == 0:
            raise InvalidMerkleProof("the inclusion proof is longer than the tree is high")
        if fn & 1 or fn == sn:
            result = node_hash(item, result)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            result = node_hash(result, item)
        fn >>= 1
        sn >>= 1
    if sn:
        raise InvalidMerkleProof("the inclusion proof is shorter than the tree is high")
    if result != root:
        raise InvalidMerkleProof(
            f"the inclusion proof of leaf {index} leads to root {result.hex()}, "
            f"not to {root.hex()} of the tree of {size} leaves"
        )


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Raise :class:`InvalidMerkleProof` unless the old tree is a prefix of the new one.

    The algorithm is RFC 9162, section 2.1.4.2; the empty tree is a prefix of every tree.
    """
    if not 0 <= old <= new:
        raise InvalidMerkleProof(f"a tree of {new} leaves can't follow one of {old} leaves")
    if any(len(item) != HASH_SIZE for item in proof):
        raise InvalidMerkleProof("every hash of a consistency proof has 32 bytes")
    if old == new or old == 0:
        if proof:
            raise InvalidMerkleProof(f"the proof from {old} to {new} leaves has no hashes at all")
        if old_root != (new_root if old == new else EMPTY_ROOT):
            raise InvalidMerkleProof(
                f"two roots for {old} leaves: {old_root.hex()} and "
                f"{(new_root if old == new else EMPTY_ROOT).hex()}"
            )
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise InvalidMerkleProof(f"the proof from {old} to {new} leaves is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    older = newer = path[0]
    for item in path[1:]:
        if sn == 0:
            raise InvalidMerkleProof("the consistency proof is longer than the tree is high")
        if fn & 1 or fn == sn:
            older = node_hash(item, older)
            newer = node_hash(item, newer)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            newer = node_hash(newer, item)
        fn >>= 1
        sn >>= 1
    if sn:
        raise InvalidMerkleProof("the consistency proof is shorter than the tree is high")
    if older != old_root:
        raise InvalidMerkleProof(
            f"the consistency proof leads to root {older.hex()} for {old} leaves, "
            f"not to {old_root.hex()}"
        )
    if newer != new_root:
        raise InvalidMerkleProof(
            f"the consistency proof leads to root {newer.hex()} for {new} leaves, "
            f"not to {new_root.hex()}"
        )


def _split(count: int) -> int:
    """The largest power of two below ``count`` (at least 2)."""
    return 1 << (count - 1).bit_length() - 1


def _subtrees(begin: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees (level, index) over a range with an aligned start, the largest first."""
    found = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        found.append((level, begin >> level))
        begin += 1 << level
    return found


def _range_root(begin: int, end: int, node: NodeReader) -> bytes:
    return _fold([node(level, index) for level, index in _subtrees(begin, end)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for item in reversed(hashes[:-1]):
        result = node_hash(item, result)
    return result


def _check_hash(item: bytes) -> None:
    if len(item) != HASH_SIZE:
        raise FormatError(f"a hash has 32 bytes, not {len(item)}")
