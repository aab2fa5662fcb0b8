"""The Merkle tree against the published vectors and against the definition in RFC 6962."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proofs.errors import FormatError, InvalidMerkleProof
from proofs.merkle import (
    EMPTY_ROOT,
    Frontier,
    NodeReader,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    root_from_hashes,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The test data of the Certificate Transparency implementation, which every RFC 6962 library uses.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def hashes_of(leaves: list[bytes]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]


def reader(leaves: list[bytes]) -> NodeReader:
    return nodes_of(hashes_of(leaves).__getitem__)


# The definitions of RFC 6962, section 2.1, written down as they stand there.


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def numbered(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert root_from_hashes(hashes_of(LEAVES[:size])).hex() == ROOTS[size]
    assert tree_root(size, reader(LEAVES)).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "expected"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, expected: list[str]) -> None:
    proof = inclusion_proof(index, size, reader(LEAVES))
    assert [item.hex() for item in proof] == expected
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "expected"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, expected: list[str]) -> None:
    proof = consistency_proof(old, new, reader(LEAVES))
    assert [item.hex() for item in proof] == expected
    verify_consistency(old, new, proof, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


def test_leaves_and_nodes_are_hashed_apart() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert node_hash(left, right) != leaf_hash(left + right)


def test_every_small_tree_agrees_with_the_definition() -> None:
    leaves = numbered(20)
    node = reader(leaves)
    for size in range(1, 21):
        root = mth(leaves[:size])
        assert tree_root(size, node) == root
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert proof == path(index, leaves[:size])
            verify_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, node)
            assert proof == subproof(old, leaves[:size], True)
            verify_consistency(old, size, proof, mth(leaves[:old]), root)


@given(size=st.integers(1, 140), data=st.data())
def test_proofs_verify_at_any_size(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    node = reader(leaves)
    root = root_from_hashes(hashes_of(leaves))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    proof = inclusion_proof(index, size, node)
    assert proof == path(index, leaves)
    verify_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
    verify_consistency(old, size, consistency_proof(old, size, node), mth(leaves[:old]), root)


@given(size=st.integers(2, 70), data=st.data())
def test_no_changed_proof_verifies(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    node = reader(leaves)
    root = mth(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    change = data.draw(st.sampled_from(["flip", "drop", "repeat", "append"]))

    def changed(proof: list[bytes]) -> list[bytes]:
        at = data.draw(st.integers(0, len(proof) - 1))
        if change == "flip":
            flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
            return [*proof[:at], flipped, *proof[at + 1 :]]
        if change == "drop":
            return proof[:at] + proof[at + 1 :]
        if change == "repeat":
            return [*proof[:at], proof[at], *proof[at:]]
        return [*proof, leaf_hash(b"more")]

    inclusion = changed(inclusion_proof(index, size, node))
    with pytest.raises(InvalidMerkleProof):
        verify_inclusion(leaf_hash(leaves[index]), index, size, inclusion, root)
    consistency = changed(consistency_proof(old, size, node))
    with pytest.raises(InvalidMerkleProof):
        verify_consistency(old, size, consistency, mth(leaves[:old]), root)


@given(size=st.integers(2, 70), data=st.data())
def test_a_proof_is_for_its_own_place_only(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda value: value != index))
    proof = inclusion_proof(index, size, reader(leaves))
    with pytest.raises(InvalidMerkleProof):
        verify_inclusion(leaf_hash(leaves[other]), index, size, proof, mth(leaves))
    with pytest.raises(InvalidMerkleProof):
        verify_inclusion(leaf_hash(leaves[index]), other, size, proof, mth(leaves))


def test_a_forked_tree_is_not_consistent() -> None:
    honest, forked = numbered(7), [*numbered(3), b"forged", *numbered(7)[4:]]
    for old in range(4, 8):
        with pytest.raises(InvalidMerkleProof):
            verify_consistency(
                old, 7, consistency_proof(old, 7, reader(forked)), mth(honest[:old]), mth(forked)
            )


@pytest.mark.parametrize(
    ("old", "new", "proof", "old_root"),
    [
        (0, 5, [], leaf_hash(b"0")),
        (0, 5, [EMPTY_ROOT], EMPTY_ROOT),
        (5, 5, [EMPTY_ROOT], mth(numbered(5))),
        (5, 5, [], mth(numbered(4))),
        (3, 5, [], mth(numbered(3))),
        (4, 5, [], mth(numbered(4))),
        (6, 5, [], mth(numbered(6))),
        (-1, 5, [], EMPTY_ROOT),
        (3, 5, [b"short"], mth(numbered(3))),
    ],
)
def test_consistency_at_the_edges(old: int, new: int, proof: list[bytes], old_root: bytes) -> None:
    with pytest.raises(InvalidMerkleProof):
        verify_consistency(old, new, proof, old_root, mth(numbered(5)))


def test_every_tree_extends_the_empty_one() -> None:
    verify_consistency(0, 5, consistency_proof(0, 5, reader(numbered(5))), EMPTY_ROOT, b"x" * 32)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (7, 5)])
def test_inclusion_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(FormatError, match="not in a tree"):
        inclusion_proof(index, size, reader(numbered(8)))
    with pytest.raises(InvalidMerkleProof):
        verify_inclusion(leaf_hash(b"0"), index, size, [], leaf_hash(b"0"))


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidMerkleProof, match="not 32"):
        verify_inclusion(leaf_hash(b"0"), 0, 2, [b"short"], EMPTY_ROOT)
    with pytest.raises(FormatError, match="32 bytes"):
        Frontier().append(b"short")


def test_a_tree_never_shrinks() -> None:
    with pytest.raises(FormatError, match="never shrinks"):
        consistency_proof(5, 4, reader(numbered(5)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Frontier(3, [EMPTY_ROOT]),
        lambda: Frontier(-1, []),
        lambda: Frontier(2**63, [EMPTY_ROOT]),
        lambda: Frontier(1, [b"short"]),
        lambda: Frontier.from_bytes(b""),
        lambda: Frontier.from_bytes(bytes(8) + b"x"),
        lambda: Frontier.from_bytes(bytes(7) + b"\x03" + bytes(32)),
    ],
)
def test_a_malformed_frontier_is_refused(make: Callable[[], Frontier]) -> None:
    with pytest.raises(FormatError):
        make()


class GrowingFrontier(RuleBasedStateMachine):
    """However it is copied, stored and resumed, a frontier has the root of its leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[bytes] = []
        self.frontier = Frontier()

    @rule(more=st.lists(st.binary(max_size=8), max_size=20))
    def append(self, more: list[bytes]) -> None:
        for leaf in more:
            self.frontier.append(leaf_hash(leaf))
        self.leaves += more

    @rule()
    def store_and_load(self) -> None:
        self.frontier = Frontier.from_bytes(self.frontier.to_bytes())

    @rule()
    def copies_are_independent(self) -> None:
        copy = self.frontier.copy()
        assert copy == self.frontier
        copy.append(leaf_hash(b"elsewhere"))
        assert copy != self.frontier

    @rule()
    def taken_from_the_stored_tree(self) -> None:
        size = len(self.leaves)
        assert Frontier.of(size, reader(self.leaves)) == self.frontier
        assert Frontier.over(hashes_of(self.leaves)) == self.frontier

    @invariant()
    def root_is_that_of_the_leaves(self) -> None:
        assert self.frontier.size == len(self.leaves)
        assert self.frontier.root() == mth(self.leaves)
        assert len(self.frontier.hashes) == len(self.leaves).bit_count()


TestGrowingFrontier = GrowingFrontier.TestCase
