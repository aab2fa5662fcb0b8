"""Graph store and index follow the journal: deleted, late or foreign, they end where they were."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ontology.errors import StoreError
from ontology.terms import Delta
from proofs.errors import (
    IndexFailed,
    Invalid,
    JournalBroken,
    JournalCorrupt,
    UnknownProposal,
    WritingStopped,
)
from proofs.projections import format_time, load_entry

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

CLASS = 'ex:Thing a owl:Class ; rdfs:label "thing" .'


def grow(gate: Gate) -> None:
    """A history with everything in it that a projection must carry."""
    gate.found_project("secret", restricted=True)
    gate.propose(gate.service("vault", "secret"), "lineage/secret", by=_secret(gate))
    kept = gate.propose(gate.service("web") + gate.service("api") + '[] ex:says "hello" .')
    gone = gate.propose("ex:web fo:calls ex:api .", evidence=["sha256:" + "ab" * 32])
    gate.ledger.revert(gate.steward, gone.id, "by mistake")
    with pytest.raises(Invalid):
        gate.propose("ex:web fo:calls ex:nobody .")
    gate.propose("ex:T1 a owl:Class ; rdfs:label 't' .", "ontology", by=gate.operator)
    otto = gate.name("otto", "operator")
    approved = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.ledger.approve(otto, approved.id, "yes")
    waiting = gate.propose("ex:T2 a owl:Class ; rdfs:label 't' .", "ontology", by=gate.operator)
    rejected = gate.propose(
        "ex:T3 a owl:Class ; rdfs:label 't' .", "ontology", by=otto, project=None
    )
    gate.ledger.reject(gate.operator, rejected.id, "no")
    assert {kept.state, waiting.state} == {"applied", "awaiting decision"}


def _secret(gate: Gate) -> str:
    return gate.ids.principal("steward-secret")


def picture(gate: Gate) -> dict[str, Any]:
    """All that is derived from the journal."""
    return {
        "digest": gate.ledger.state_digest,
        "asserted": set(gate.store.asserted()),
        "derived": gate.derived(),
        "views": gate.views(),
        "entries": gate.index.entries(limit=1000),
        "counts": gate.index.counts(),
        "origins": gate.origins(),
        "governance": gate.ledger.governance,
        "versions": gate.projections.versions,
        "heads": (gate.store.head(), gate.index.head()),
    }


@contextmanager
def closed(gate: Gate) -> Iterator[Path]:
    """The folder while nothing is open."""
    gate.close()
    yield gate.folder
    gate.open()


def remove_index(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"index.sqlite{suffix}").unlink(missing_ok=True)


def test_whatever_is_deleted_comes_back_the_same(gate: Gate) -> None:
    grow(gate)
    before = picture(gate)
    with closed(gate) as folder:
        shutil.rmtree(folder / "graph")
    assert picture(gate) == before
    with closed(gate) as folder:
        remove_index(folder)
    assert picture(gate) == before
    with closed(gate) as folder:
        shutil.rmtree(folder / "graph")
        remove_index(folder)
    assert picture(gate) == before
    assert gate.reopen() == 0
    gate.sound()


@pytest.mark.parametrize("late", ["graph", "index", "both"])
def test_what_lags_is_brought_up_to_date(gate: Gate, tmp_path: Path, late: str) -> None:
    """Copies taken after every few entries are put back under the newest journal."""
    copies: list[Path] = []

    def copy() -> None:
        target = tmp_path / f"copy{len(copies)}"
        gate.close()
        shutil.copytree(gate.folder, target)
        gate.open()
        copies.append(target)

    otto = gate.name("otto", "operator")
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    copy()
    gate.ledger.approve(otto, view.id, "yes")
    undo = gate.ledger.revert(gate.operator, view.id, "no")
    assert undo is not None
    copy()
    gate.ledger.approve(otto, undo.id, "well")
    gate.propose(gate.service("web"))
    gate.take_back('ex:web rdfs:label "web" . ex:web a fo:Service ; fo:inProject project:shop .')
    before = picture(gate)
    for old in copies:
        with closed(gate) as folder:
            if late in ("graph", "both"):
                shutil.rmtree(folder / "graph")
                shutil.copytree(old / "graph", folder / "graph")
            if late in ("index", "both"):
                remove_index(folder)
                shutil.copy(old / "index.sqlite", folder / "index.sqlite")
        assert picture(gate) == before


def test_governance_of_the_past_decides_what_an_entry_meant(gate: Gate, tmp_path: Path) -> None:
    """A time lock is as long as it was when the proposal came, also when it is read again."""
    first = gate.propose(CLASS, "ontology", by=gate.operator)
    acme = gate.ids.organisation("acme")
    day = gate.request(
        f'<{acme}> fo:timeLock "P1D"^^xsd:dayTimeDuration .', "governance", project=None
    ).additions
    week = gate.request(
        f'<{acme}> fo:timeLock "P7D"^^xsd:dayTimeDuration .', "governance", project=None
    ).additions
    from proofs.submission import Request

    assert gate.ledger.submit(gate.operator, Request(week, day)) is not None
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 2
    second = gate.propose("ex:T a owl:Class ; rdfs:label 't' .", "ontology", by=gate.operator)
    assert second.time_lock_until == format_time(gate.clock()).replace("-23T", "-30T")
    before = picture(gate)
    with closed(gate) as folder:
        remove_index(folder)
    assert picture(gate) == before
    assert gate.ledger.proposal(first.id).state == "applied"


def test_an_index_of_another_history_is_made_anew(gate: Gate, tmp_path: Path) -> None:
    other = tmp_path / "other"
    gate.close()
    shutil.copytree(gate.folder, other)
    gate.open()
    gate.propose(gate.service("web"))
    gate.propose(gate.service("more"))
    with closed(gate) as folder:
        shutil.copy(folder / "index.sqlite", tmp_path / "ahead.sqlite")
        shutil.rmtree(folder)
        shutil.copytree(other, folder)
        # An index that is ahead of the journal,
        shutil.copy(tmp_path / "ahead.sqlite", folder / "index.sqlite")
    assert [view for view in gate.views() if view.project == "shop"] == []
    gate.sound()
    gate.propose(gate.service("api"))
    gate.propose(gate.service("last"))
    before = picture(gate)
    with closed(gate) as folder:
        # and one that is as long, but of other entries.
        remove_index(folder)
        shutil.copy(tmp_path / "ahead.sqlite", folder / "index.sqlite")
    assert picture(gate) == before


def test_a_damaged_index_is_made_anew(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    before = picture(gate)
    for damage in (b"no database", b""):
        with closed(gate) as folder:
            remove_index(folder)
            (folder / "index.sqlite").write_bytes(damage)
        assert picture(gate) == before
    with closed(gate) as folder:
        connection = sqlite3.connect(folder / "index.sqlite")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    assert picture(gate) == before


def test_a_store_that_is_ahead_or_of_another_history_is_refused(gate: Gate, tmp_path: Path) -> None:
    older = tmp_path / "older"
    gate.close()
    shutil.copytree(gate.folder, older)
    gate.open()
    gate.propose(gate.service("web"))
    gate.close()
    shutil.copytree(gate.folder / "graph", tmp_path / "newer")
    for name in ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"):
        (gate.folder / name).unlink(missing_ok=True)
    shutil.copy(older / "journal.sqlite", gate.folder / "journal.sqlite")
    with pytest.raises(JournalCorrupt, match="the journal is older than the graph"):
        gate.open()
    # The same number of entries, but others.
    shutil.rmtree(gate.folder)
    shutil.copytree(older, gate.folder)
    gate.open()
    gate.propose(gate.service("api"))
    gate.close()
    shutil.rmtree(gate.folder / "graph")
    shutil.copytree(tmp_path / "newer", gate.folder / "graph")
    with pytest.raises(JournalCorrupt, match="another history"):
        gate.open()
    shutil.rmtree(gate.folder / "graph")
    gate.open()
    gate.sound()


def test_a_gap_in_the_journal_is_not_stepped_over(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    with closed_for_good(gate) as folder:
        _alter(folder, "DELETE FROM entries WHERE n = 1")
        shutil.rmtree(folder / "graph")
        with pytest.raises(JournalCorrupt, match="entry 1 of the journal is missing"):
            gate.open()


@contextmanager
def closed_for_good(gate: Gate) -> Iterator[Path]:
    """The folder while nothing is open; what comes then need not open."""
    gate.close()
    keep = gate.folder.with_name("keep")
    shutil.copytree(gate.folder, keep)
    yield gate.folder
    shutil.rmtree(gate.folder, ignore_errors=True)
    shutil.copytree(keep, gate.folder)
    gate.open()


def _alter(folder: Path, sql: str) -> None:
    connection = sqlite3.connect(folder / "journal.sqlite")
    with connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE entries SET leaf = x'00' WHERE n = 1", "entry 1 of the journal"),
        (
            "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE n = 2) WHERE n = 1",
            "entry 1 of the journal .* says it is entry 2",
        ),
        ("UPDATE blobs SET bytes = x'00'", "entry 0 of the journal .* blob [0-9a-f]{64}"),
        ("DELETE FROM blobs", "entry 0 of the journal .* no blob"),
    ],
)
def test_an_entry_that_was_changed_is_named(gate: Gate, sql: str, said: str) -> None:
    with closed_for_good(gate) as folder:
        _alter(folder, sql)
        shutil.rmtree(folder / "graph")
        with pytest.raises(JournalCorrupt, match=said):
            gate.open()


# --- when a projection fails


class Failing:
    """Fails as often as it is told to, then works."""

    def __init__(self, function: Any, error: Exception, times: int) -> None:
        self._function = function
        self._error = error
        self.times = times

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.times:
            self.times -= 1
            raise self._error
        return self._function(*arguments, **named)


@pytest.mark.parametrize("part", ["store", "index"])
def test_writing_stops_until_store_and_index_have_caught_up(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    heads: list[int] = []
    gate.ledger.on_commit(heads.append)
    head = gate.ledger.head
    if part == "store":
        failing = Failing(gate.store.apply, StoreError("no space left"), 2)
        monkeypatch.setattr(gate.store, "apply", failing)
    else:
        failing = Failing(gate.index.take, IndexFailed("no space left"), 2)
        monkeypatch.setattr(gate.index, "take", failing)
    with pytest.raises(WritingStopped, match=f"entry {head + 1} is committed and will be applied"):
        gate.propose(gate.service("web"))
    assert gate.ledger.head == head + 1
    assert gate.ledger.stopped == "no space left"
    # Nothing is written meanwhile, and nobody is told of what is not there yet.
    with pytest.raises(WritingStopped, match="nothing is lost"):
        gate.propose(gate.service("api"))
    assert (gate.ledger.head, heads) == (head + 1, [])
    assert gate.propose(gate.service("api")).state == "applied"
    assert heads == [head + 1, head + 2]
    assert len(gate.asserted()) == 6
    gate.sound()


def test_a_full_disk_under_the_index_loses_nothing(gate: Gate) -> None:
    connection = gate.index._db
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = "".join(gate.service(f"s{n}") for n in range(400))
    with pytest.raises(WritingStopped):
        gate.propose(many)
    with pytest.raises(WritingStopped):
        gate.propose(gate.service("more"))
    connection.execute("PRAGMA max_page_count = 1000000")
    gate.propose(gate.service("more"))
    gate.sound()


def test_shapes_that_came_while_writing_was_stopped_hold(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.propose(
        "ex:Tagged a sh:NodeShape ; sh:targetClass fo:Service ;"
        ' sh:property [ sh:path ex:tag ; sh:minCount 1 ; sh:message "tag it" ] .',
        "shapes",
        by=gate.operator,
    )
    gate.clock.move(hours=25)
    failing = Failing(gate.store.apply, StoreError("no space left"), 1)
    monkeypatch.setattr(gate.store, "apply", failing)
    with pytest.raises(WritingStopped):
        gate.ledger.tick()
    gate.propose("ex:x ex:p 1 .")
    with pytest.raises(Invalid, match="tag it"):
        gate.propose(gate.service("web"))


# --- reading


def test_proposals_and_entries_are_listed_newest_first(gate: Gate) -> None:
    gate.found_project("secret", restricted=True)
    hidden = gate.propose(gate.service("v", "secret"), "lineage/secret", by=_secret(gate))
    shown = gate.propose(gate.service("web"))
    listed = [view.id for _, view in gate.index.proposals(limit=2)]
    assert listed == [shown.id, hidden.id]
    (number, _), *_ = gate.index.proposals(limit=1)
    assert [view.id for _, view in gate.index.proposals(limit=1, before=number)] == [hidden.id]
    for readable, seen in (((), False), (("billing",), False), (("secret",), True), (None, True)):
        views = gate.index.proposals(readable=readable)
        assert (hidden.id in {view.id for _, view in views}) is seen
        rows = gate.index.entries(readable=readable)
        assert (hidden.head in {row.index for row in rows}) is seen
    assert [view.id for _, view in gate.index.proposals(project="shop")] == [shown.id]
    assert gate.index.proposals(states=["rejected"]) == []
    entries = gate.index.entries(limit=2)
    assert [row.index for row in entries] == [gate.ledger.head, gate.ledger.head - 1]
    assert entries[0].leaf_hash == gate.journal.leaf_hashes(entries[0].index, 10**6)[0].hex()
    assert [row.index for row in gate.index.entries(before=1)] == [0]
    row = gate.index.entry(hidden.head)
    assert row is not None
    assert (row.restricted, row.proposal) == (True, hidden.id)
    assert gate.index.entry(999) is None
    with pytest.raises(UnknownProposal):
        gate.projections.proposal("none")


def test_entries_are_loaded_with_all_they_refer_to(gate: Gate) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    done = gate.ledger.reject(gate.operator, view.id, "no \u2028 need")
    entry = load_entry(gate.journal, done.head, gate.journal.leaf(done.head), gate.keys)
    assert list(entry.reasons.values()) == ["no \u2028 need"]
    assert not entry.applies
    assert entry.delta == gate.ledger.delta_of(view)
    assert entry.submission is None


def test_a_disk_that_cannot_be_read_is_not_called_a_forgery(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = gate.journal.leaf(1)
    monkeypatch.setattr(gate.journal, "blob", Failing(None, JournalBroken("disk I/O error"), 1))
    with pytest.raises(JournalBroken, match="disk I/O error"):
        load_entry(gate.journal, 1, leaf, gate.keys)


# --- what is inferred


def test_what_is_inferred_follows_the_ontology_and_comes_back_the_same(gate: Gate) -> None:
    otto = gate.name("otto", "operator")

    def change(turtle: str, *, back: bool = False) -> None:
        ask = gate.take_back if back else gate.propose
        gate.ledger.approve(otto, ask(turtle, "ontology", by=gate.operator).id, "yes")

    gate.propose(gate.service("web") + gate.service("api") + "ex:web ex:feeds ex:api .")
    change("fo:Service rdfs:subClassOf ex:Thing . ex:feeds owl:inverseOf ex:fedBy .")
    gate.sound()
    inferred = {(q.subject.value, q.object.value) for q in _inferred(gate, "http://example.org/")}
    assert inferred == {
        (f"http://example.org/{one}", f"http://example.org/{other}")
        for one, other in (("web", "Thing"), ("api", "Thing"), ("api", "web"))
    }
    change("fo:Service rdfs:subClassOf ex:Thing .", back=True)
    gate.take_back("ex:web ex:feeds ex:api .")
    assert _inferred(gate, "http://example.org/") == []
    change("ex:Thing rdfs:subClassOf ex:Being . fo:Service rdfs:subClassOf ex:Thing .")
    before = picture(gate)
    assert before["derived"]["inferred"]
    with closed(gate) as folder:
        shutil.rmtree(folder / "graph")
    assert picture(gate) == before
    gate.sound()


def _inferred(gate: Gate, space: str) -> list[Any]:
    """Inferred triples between things of our own."""
    return [
        quad
        for quad in gate.store.match(graph=gate.store.inferred)
        if quad.subject.value.startswith(space)  # type: ignore[union-attr]
        and quad.object.value.startswith(space)  # type: ignore[union-attr]
    ]


def test_a_store_from_before_there_was_entailment_is_brought_up_to_date(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    before = picture(gate)
    everything = frozenset(gate.store.match(graph=gate.store.inferred))
    assert everything
    gate.store.write_inferred(Delta(removals=everything), version="0")
    gate.reopen()
    assert picture(gate) == before
    gate.sound()


def test_a_graph_that_turns_restricted_as_it_is_filled_shows_nothing(gate: Gate) -> None:
    otto = gate.name("otto", "operator")
    billing = gate.request(gate.service("vault", "billing"), "lineage/billing")
    restricts = gate.request("graph:lineage\\/billing fo:restricted true .", "governance")
    both = replace(billing, additions=billing.additions | restricts.additions)
    view = gate.ledger.submit(gate.operator, both)
    assert view is not None
    gate.ledger.approve(otto, view.id, "yes")
    derived = gate.derived()
    assert not [line for name in ("merge", "inferred") for line in derived[name] if "vault" in line]
    gate.sound()
