"""Many at the gate at once: nothing is lost, nothing twice, and no two break a shape together.

The interleavings that matter are made by hand: the validator, or the store, is held at the moment
that counts while another change goes through.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import NamedNode, Quad

from ontology.terms import Delta
from proofs.errors import Invalid
from shapes.reads import Reads
from shapes.validator import Validation, Validator
from shapes.whole import Tell

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

TWO_NAMES = (
    "ex:OneName a sh:NodeShape ; sh:targetClass fo:Service ;"
    " sh:property ex:OneName-label . ex:OneName-label a sh:PropertyShape ;"
    ' sh:path rdfs:label ; sh:maxCount 1 ; sh:message "one name is enough" .'
)


class Held:
    """Makes a function wait once, right before or after its work, until it is let go."""

    def __init__(self, function: Callable[..., object], *, after: bool) -> None:
        self._function = function
        self._after = after
        self._once = threading.Lock()
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self, *arguments: object, **named: object) -> object:
        first = self._once.acquire(blocking=False)
        if not first:
            return self._function(*arguments, **named)
        if not self._after:
            self._wait()
        result = self._function(*arguments, **named)
        if self._after:
            self._wait()
        return result

    def _wait(self) -> None:
        self.reached.set()
        assert self.go.wait(30)


def in_thread(function: Callable[..., object], *arguments: object) -> Future[object]:
    pool = ThreadPoolExecutor(1)
    future: Future[object] = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return future


def hold(gate: Gate, monkeypatch: pytest.MonkeyPatch, what: str, *, after: bool) -> Held:
    owner: object = gate.validator if what == "examine" else gate.store
    held = Held(getattr(owner, what), after=after)
    monkeypatch.setattr(owner, what, held)
    return held


# Pairs of changes that are valid each and break a shape together; what is there before them.
JOINTLY = {
    "two values of one property": (
        "ex:a a fo:Service ; fo:inProject project:shop .\n"
        'ex:a rdfs:label "a" . ex:d a fo:Dataset ; rdfs:label "d" .',
        "ex:d fo:system 'one' .",
        "ex:d fo:system 'two' .",
        False,
    ),
    "a reference, and what it refers to taken away": (
        'ex:api a fo:Service ; rdfs:label "api" ; fo:inProject project:shop .'
        'ex:web a fo:Service ; rdfs:label "web" ; fo:inProject project:shop .',
        "ex:web fo:calls ex:api .",
        'ex:api a fo:Service ; rdfs:label "api" ; fo:inProject project:shop .',
        True,
    ),
    "two kinds of a thing that exclude each other": (
        'ex:p rdfs:label "p" .',
        'ex:p a fo:Person ; fo:slug "p" .',
        'ex:p a fo:Agent ; fo:slug "p" .',
        False,
    ),
}


@pytest.mark.parametrize(("before", "first", "second", "taken"), JOINTLY.values(), ids=JOINTLY)
def test_two_valid_changes_cannot_break_a_shape_together(
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    first: str,
    second: str,
    taken: bool,
) -> None:
    gate.propose(before)
    held = hold(gate, monkeypatch, "examine", after=True)
    slow = in_thread(gate.propose, first)
    assert held.reached.wait(30)
    # The first is found valid and not yet committed; the second passes it.
    (gate.take_back if taken else gate.propose)(second)
    held.go.set()
    with pytest.raises(Invalid):
        slow.result(30)
    gate.sound()


def test_a_decision_is_checked_again_when_something_came_in_between(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    otto = gate.name("otto", "operator")
    url = (
        'ex:a a fo:PublicUrl ; fo:url "https://a.example/"^^xsd:anyURI ; fo:authority "a.example" .'
    )
    gate.propose(url, by=gate.operator)
    view = gate.propose(
        'ex:lxc a fo:LxcAsset ; rdfs:label "lxc" ; fo:assetId "lxc-1" ; fo:locatorContainer "c" ;'
        f" fo:publicUrl ex:a ; fo:ownedBy <{gate.ids.organisation('acme')}> .",
        "assets",
        by=gate.operator,
    )
    held = hold(gate, monkeypatch, "examine", after=True)
    slow = in_thread(gate.ledger.approve, otto, view.id, "yes")
    assert held.reached.wait(30)
    gate.take_back(url, by=gate.operator)
    held.go.set()
    with pytest.raises(Invalid, match="no longer valid"):
        slow.result(30)
    assert gate.state(view) == "invalid"


def test_a_change_of_the_shapes_passes_a_check_that_is_under_way(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = gate.propose(TWO_NAMES, "shapes", by=gate.operator)
    gate.clock.move(hours=25)
    held = hold(gate, monkeypatch, "examine", after=True)
    slow = in_thread(gate.propose, gate.service("web") + 'ex:web rdfs:label "the web" .')
    assert held.reached.wait(30)
    assert gate.ledger.tick() == 1
    assert gate.state(view) == "applied"
    held.go.set()
    with pytest.raises(Invalid, match="one name is enough"):
        slow.result(30)


def test_shapes_read_while_they_change_are_not_kept(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.propose(TWO_NAMES, "shapes", by=gate.operator)
    gate.clock.move(hours=25)
    gate.validator.forget()
    # The old shapes are read, and while they are parsed the new ones are committed.
    held = Held(__import__("shapes.validator").validator._read_shapes, after=True)
    monkeypatch.setattr("shapes.validator._read_shapes", held)
    slow = in_thread(gate.propose, gate.service("web"))
    assert held.reached.wait(30)
    assert gate.ledger.tick() == 1
    held.go.set()
    slow.result(30)
    with pytest.raises(Invalid, match="one name is enough"):
        gate.propose('ex:web rdfs:label "the web" .')


def test_an_entry_on_its_way_into_the_store_is_not_taken_for_being_there(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.propose('ex:d a fo:Dataset ; rdfs:label "d" .')
    held = hold(gate, monkeypatch, "apply", after=False)
    first = in_thread(gate.propose, "ex:d fo:system 'one' .")
    assert held.reached.wait(30)
    # The journal has the first; the store does not. What is checked now is checked again.
    checked = hold(gate, monkeypatch, "examine", after=True)
    second = in_thread(gate.propose, "ex:d fo:system 'two' .")
    same = in_thread(gate.ledger.submit, gate.steward, gate.request("ex:d fo:system 'one' ."))
    assert checked.reached.wait(30)
    checked.go.set()
    held.go.set()
    first.result(30)
    with pytest.raises(Invalid):
        second.result(30)
    # Stated twice, it is stated once: the digest of the graph knows no multiples.
    assert same.result(30) is None
    gate.sound()


def test_eight_at_once(gate: Gate) -> None:
    each, threads = 3, 8

    def work(worker: int) -> None:
        for turn in range(each):
            gate.propose(gate.service(f"s{worker}-{turn}") + f"ex:shared ex:by {worker} , {turn} .")
            if turn % 2:
                gate.ledger.submit(gate.steward, gate.request(gate.service(f"s{worker}-0")))

    head = gate.ledger.head
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    assert gate.ledger.head == head + each * threads
    assert list(gate.index.counts()) == ["applied"]
    services = {
        quad.subject for quad in gate.asserted() if str(quad.predicate).endswith("inProject>")
    }
    assert len(services) == each * threads
    assert len(set(gate.origins().values())) == gate.ledger.head + 1
    gate.sound()
    gate.reopen()
    gate.sound()


def test_one_decision_wins(gate: Gate) -> None:
    otto = gate.name("otto", "operator")
    view = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    acts: list[Callable[[], object]] = [
        lambda: gate.ledger.approve(otto, view.id, "yes"),
        lambda: gate.ledger.reject(otto, view.id, "no"),
        lambda: gate.ledger.withdraw(gate.operator, view.id, "mine"),
    ] * 2
    with ThreadPoolExecutor(len(acts)) as pool:
        done = [pool.submit(act) for act in acts]
    won = [future for future in done if future.exception() is None]
    assert len(won) == 1
    assert len(gate.ledger.proposal(view.id).decisions) == 1
    assert {type(future.exception()).__name__ for future in done} == {"NoneType", "WrongState"}


# --- what may be skipped


def test_changes_that_do_not_touch_are_not_checked_twice(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.propose(gate.service("web") + gate.service("api"))
    calls: list[Delta] = []
    examine = Validator.examine

    def counted(self: Validator, delta: Delta, tell: Tell | None = None) -> Validation:
        calls.append(delta)
        return examine(self, delta, tell)

    monkeypatch.setattr(Validator, "examine", counted)
    held = hold(gate, monkeypatch, "examine", after=True)
    slow = in_thread(gate.propose, 'ex:web rdfs:label "the web" .')
    assert held.reached.wait(30)
    gate.propose('ex:api rdfs:label "the api" .')
    held.go.set()
    slow.result(30)
    assert len(calls) == 2


def test_a_change_that_is_no_longer_remembered_means_checking_again(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.reopen()
    held = hold(gate, monkeypatch, "examine", after=True)
    slow = in_thread(gate.propose, "ex:d a fo:Dataset ; rdfs:label 'd' ; fo:system 'one' .")
    assert held.reached.wait(30)
    for number in range(3):
        gate.propose(f"ex:x{number} ex:p 1 .")
    checker = gate.ledger._checker
    while checker._recent[0][0] <= gate.ledger.head - 2:
        checker._recent.popleft()
    held.go.set()
    slow.result(30)
    gate.sound()


P, Q = NamedNode("http://e/p"), NamedNode("http://e/q")
A, B = NamedNode("http://e/a"), NamedNode("http://e/b")
CHANGE = Delta(frozenset({Quad(A, P, B, NamedNode("http://e/graph"))}))


@pytest.mark.parametrize(
    ("reads", "meet"),
    [
        (Reads(objects={P: {A}}), True),
        (Reads(objects={P: {B}, Q: {A}}), False),
        (Reads(subjects={P: {B}}), True),
        (Reads(subjects={P: {A}, Q: {B}}), False),
        (Reads(nodes={A}), True),
        (Reads(nodes={B}), False),
        (Reads(pointed={B}), True),
        (Reads(pointed={A}), False),
        (Reads(everything=True), True),
        (Reads(), False),
    ],
)
def test_whether_a_change_would_have_been_read(reads: Reads, meet: bool) -> None:
    assert reads.meet(CHANGE) is meet
    assert reads.meet(Delta(frozenset(), CHANGE.additions)) is meet
    assert not reads.meet(Delta())


def test_the_graph_of_the_store_is_read_while_it_is_written(gate: Gate) -> None:
    """Readers beside the writer see whole entries: never a service without its label."""
    stop = threading.Event()
    torn: list[str] = []

    def read() -> None:
        graph = NamedNode(gate.ids.lineage_graph("shop"))
        while not stop.is_set():
            found = list(gate.store.match(graph=graph))
            if len(found) % 3:
                torn.append(f"{len(found)} quads")

    reader = in_thread(read)
    for number in range(8):
        gate.propose(gate.service(f"s{number}"))
    stop.set()
    reader.result(30)
    assert torn == []
