"""Strangers' blank nodes are labelled where it can be ended."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ontology.terms import rdfc10
from proofs.canonicaliser import AT_ONCE, Canonicaliser
from proofs.errors import BadSubmission

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

EASY = b"".join(b'_:b%d <http://e/p> "%d" .\n' % (n, n) for n in range(AT_ONCE * 3))


def clique(size: int) -> bytes:
    """Every node tied to every other: all of them alike, which RDFC-1.0 takes ages over."""
    pairs = itertools.permutations(range(size), 2)
    return b"".join(b"_:n%d <http://e/p> _:n%d .\n" % pair for pair in pairs)


@pytest.fixture
def canonicaliser() -> Iterator[Canonicaliser]:
    with_little_time = Canonicaliser(seconds=1.5)
    yield with_little_time
    with_little_time.close()


def test_it_says_what_the_algorithm_says(canonicaliser: Canonicaliser) -> None:
    assert canonicaliser(EASY) == rdfc10(EASY)
    turned = b"".join(reversed(EASY.replace(b"_:b", b"_:x").splitlines(keepends=True)))
    assert canonicaliser(turned) == canonicaliser(EASY)


def test_a_handful_needs_no_process() -> None:
    canonicaliser = Canonicaliser()
    few = clique(AT_ONCE)
    assert canonicaliser(few) == rdfc10(few)
    assert not canonicaliser._pool.started
    canonicaliser.close()


def test_a_poison_graph_is_refused_in_time_and_others_go_on(canonicaliser: Canonicaliser) -> None:
    canonicaliser(EASY)
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        poison = pool.submit(canonicaliser, clique(40))
        time.sleep(0.2)
        assert canonicaliser(EASY) == rdfc10(EASY)
        assert not poison.done()
        with pytest.raises(BadSubmission, match="could not be told apart") as caught:
            poison.result()
    assert caught.value.kind == "blank-nodes-too-hard"
    assert time.monotonic() - started < 15
    assert canonicaliser(EASY) == rdfc10(EASY)


def test_closing_ends_its_processes() -> None:
    others = set(multiprocessing.active_children())
    canonicaliser = Canonicaliser()
    canonicaliser(EASY)
    assert set(multiprocessing.active_children()) - others
    canonicaliser.close()
    assert set(multiprocessing.active_children()) <= others
    canonicaliser.close()


def test_the_gate_refuses_a_poison_graph(gate: Gate, canonicaliser: Canonicaliser) -> None:
    gate.ledger._canonicalise = canonicaliser
    head = gate.ledger.head
    with pytest.raises(BadSubmission, match="Give them IRIs"):
        gate.propose(clique(40).decode())
    assert gate.ledger.head == head
    assert gate.propose(EASY.decode()).additions == AT_ONCE * 3
