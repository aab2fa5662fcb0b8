"""What was proposed, decided, reverted and swept becomes facts, and the operators' questions are
answered from them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_api.lifecycle import COLUMNS, rows_of_entry
from graph_api.proof_facts import ProofFacts
from graph_api.run_facts import RunFacts
from ingest.errors import WarehouseUnavailable
from ingest.schema import migrations
from ingest.warehouse import Warehouse
from proofs.checkpoint import SignerKey
from proofs.erasure import Erasure
from proofs.errors import Invalid
from proofs.projections import load_entry
from stewards.job_store import Run
from stewards.jobs import Job
from stewards.outcome import Outcome
from tests.proofs.conftest import Clock, Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]  # fixtures

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
FILES = sorted(FOLDER.glob("*.sql"))
EVIDENCE = "sha256:" + "a" * 64
REASON = "what people write stays in the journal"


@dataclass
class Story:
    """A platform's life, in a gate and in the warehouse that followed it."""

    gate: Gate
    warehouse: Warehouse
    ids: dict[str, str]

    def facts(self) -> ProofFacts:
        gate = self.gate
        return ProofFacts(gate.journal, self.warehouse, gate.keys, lambda iri: iri == gate.steward)

    def follow(self) -> None:
        facts = self.facts()
        facts._follow(facts._cursor())

    def rows(self, sql: str) -> list[list[Any]]:
        return [list(row) for row in self.warehouse.query(sql).rows]

    def of(self, name: str) -> str:
        return self.ids[name]


def _lived(gate: Gate) -> dict[str, str]:
    """Proposals by what became of them; the clock moves on between the steps."""
    ids: dict[str, str] = {}

    def held(name: str) -> str:
        request = replace(gate.request(gate.service(name)), hold="a person should look")
        view = gate.ledger.submit(gate.steward, request)
        assert view is not None
        gate.clock.move(hours=2)
        return view.id

    applied = gate.propose(gate.service("cart"), evidence=[EVIDENCE])
    ids["reverted"] = applied.id
    gate.name("mia", "operator")
    ids["approved"] = held("approved")
    gate.ledger.approve(gate.operator, ids["approved"], REASON)
    ids["rejected"] = held("rejected")
    gate.ledger.reject(gate.operator, ids["rejected"], REASON)
    ids["withdrawn"] = held("withdrawn")
    gate.ledger.withdraw(gate.steward, ids["withdrawn"], REASON)
    ids["waits"] = held("waits")
    with pytest.raises(Invalid) as refusal:
        gate.propose("ex:nameless a fo:Service .")
    ids["invalid"] = refusal.value.proposal
    gate.clock.move(days=1)
    undone = gate.ledger.revert(gate.operator, applied.id, REASON)
    assert undone is not None
    ids["inverse"] = undone.id
    gate.ledger.erase(gate.operator, Erasure("batch", (EVIDENCE,), "shop"), REASON)
    return ids


@pytest.fixture(scope="module")
def story(
    founded: Path, signer: SignerKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("lived") / "data"
    shutil.copytree(founded, folder, ignore=shutil.ignore_patterns("LOCK"))
    gate = Gate(folder, signer)
    warehouse = Warehouse(folder / "facts")
    story = Story(gate, warehouse, _lived(gate))
    story.follow()
    yield story
    warehouse.close()
    gate.close()


def test_the_columns_are_those_of_the_table() -> None:
    text = migrations()[2].text.partition("(\n")[2].partition(") ENGINE")[0]
    assert tuple(re.findall(r"^    ([a-z_]+) [A-Z]", text, re.MULTILINE)) == COLUMNS


def test_every_entry_has_rows_that_follow_from_it_alone(story: Story) -> None:
    journal, verifier = story.gate.journal, story.gate.keys
    for index, leaf in journal.leaves():
        rows = rows_of_entry(load_entry(journal, index, leaf, verifier))
        assert [row.step for row in rows] == list(range(len(rows)))
        assert rows == rows_of_entry(load_entry(journal, index, leaf, verifier))
        assert rows
    held = story.rows("SELECT uniqExact(entry) FROM lifecycle WHERE entry >= 0")
    assert held == [[journal.head() + 1]]


def test_each_state_of_a_proposal_is_a_row(story: Story) -> None:
    for view in story.gate.views():
        rows = story.rows(
            "SELECT former, state, entry FROM lifecycle WHERE kind = 'proposal'"
            f" AND subject = '{view.id}' ORDER BY entry, step"
        )
        assert [(state, entry) for _, state, entry in rows] == [
            (step.state, step.proof) for step in view.transitions
        ]
        assert [row[0] for row in rows] == ["draft", *(row[1] for row in rows[:-1])]
        assert story.rows(
            "SELECT state, principal FROM lifecycle WHERE kind = 'decision'"
            f" AND subject = '{view.id}' ORDER BY entry, step"
        ) == [[item.outcome, item.by] for item in view.decisions]


def test_an_approval_that_does_not_suffice_is_a_decision_and_no_state(gate: Gate) -> None:
    otto = gate.name("otto", "operator")
    organisation = gate.ids.organisation("acme")
    for statement in (
        'principal:mia a fo:Person ; fo:slug "mia" ; fo:hasRole fo:OperatorRole .',
        f"<{organisation}> fo:approvalsNeeded 2 .",
    ):
        view = gate.propose(statement, "governance", by=gate.operator)
        gate.ledger.approve(otto, view.id, "")
    asked = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    view = gate.ledger.approve(otto, asked.id, REASON)
    leaf = gate.journal.leaf(view.head)
    (row,) = rows_of_entry(load_entry(gate.journal, view.head, leaf, gate.keys))
    assert (row.kind, row.subject, row.state) == ("decision", asked.id, "approve")
    assert row.policy == "four eyes, 1 more needed"


def test_what_people_wrote_is_no_fact(story: Story) -> None:
    assert REASON not in str(story.rows("SELECT * FROM lifecycle"))


def test_what_is_lost_is_written_again_and_once(story: Story) -> None:
    everything = "SELECT * FROM lifecycle ORDER BY ALL"
    before = story.rows(everything)
    for lost in ("entry = 4", "entry >= 0", f"entry = {story.gate.journal.head()}"):
        with story.warehouse._write() as client:
            client.command(f"DELETE FROM lifecycle WHERE {lost}")
        assert story.rows(everything) != before
        story.follow()
        assert story.rows(everything) == before
    story.facts()._follow(0)
    assert story.rows(everything) == before


def test_facts_from_before_there_was_this_table_are_completed(story: Story) -> None:
    with story.warehouse._write() as client:
        client.command("TRUNCATE TABLE lifecycle")
    assert story.facts()._cursor() == 0
    story.follow()
    assert story.facts()._cursor() == story.gate.journal.head() + 1


def swept(project: str, outcome: Outcome) -> Run:
    """A sweep as its executor tells of it."""
    return Run("r", Job("sweep", project), "done", 0.0, 1, outcome=outcome.to_json())


def test_a_sweep_that_the_warehouse_did_not_take_is_written_with_the_next(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise WarehouseUnavailable("away")

    clock = Clock(datetime(2026, 11, 25, tzinfo=UTC))
    sweeps = RunFacts(story.warehouse, story.gate.ids, clock)
    with monkeypatch.context() as patched:
        patched.setattr(story.warehouse, "insert_rows", away)
        sweeps.ran(swept("late", Outcome("unchanged", 4, facts=2)), "")
    found = "SELECT time, evidence FROM lifecycle WHERE subject = 'steward-late'"
    assert story.rows(found) == []
    clock.move(hours=1)
    sweeps.ran(swept("late", Outcome("unchanged", 5, facts=3)), "")
    rows = [["2026-11-25T00:00:00.000Z", 2], ["2026-11-25T01:00:00.000Z", 3]]
    assert sorted(story.rows(found)) == rows


def test_rows_of_a_hidden_project_are_not_shown(story: Story) -> None:
    sql = "SELECT DISTINCT project FROM lifecycle"
    shown = story.warehouse.query(sql, hidden_projects={"shop"}).rows
    assert ("shop",) not in shown
    assert ["shop"] in story.rows(sql)


def test_there_are_ten_questions_and_the_page_lists_them() -> None:
    page = (FOLDER / "README.md").read_text()
    listed = re.findall(r"^\| \[l\d\d\]\((.*)\) \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert [name for name, _, _ in listed] == [path.name for path in FILES]
    assert len(FILES) == 10
    for name, who, question in listed:
        text = (FOLDER / name).read_text()
        assert text.startswith(f"-- {question}\n"), name
        assert f"\n-- Asks: an {who}" in text, name


def asked(story: Story, name: str) -> list[dict[str, Any]]:
    (path,) = [path for path in FILES if path.name.startswith(name)]
    text = path.read_text()
    result = story.warehouse.query(text)
    for column in result.columns:
        assert re.search(rf"^-- .*\b{column}\b", text, re.MULTILINE), (name, column)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def test_what_waits(story: Story) -> None:
    (row,) = asked(story, "l01")
    view = story.gate.ledger.proposal(story.of("waits"))
    assert (row["proposal"], row["project"], row["author"]) == (view.id, "shop", view.author)
    assert datetime.fromisoformat(row["since"]) == datetime.fromisoformat(view.submitted_at)
    assert (row["quads"], row["evidence"]) == (3, 0)


def test_how_long_it_took_to_decide(story: Story) -> None:
    rows = {(row["project"], row["state"]): row for row in asked(story, "l02")}
    assert {key: row["proposals"] for key, row in rows.items()} == {
        ("", "approved"): 1,
        ("shop", "approved"): 1,
        ("shop", "rejected"): 1,
        ("shop", "withdrawn"): 1,
    }
    assert rows["shop", "rejected"]["median"] == timedelta(hours=2).total_seconds()
    assert rows["", "approved"]["longest"] == timedelta(hours=25).total_seconds()


def test_what_became_of_proposals(story: Story) -> None:
    found = {(row["author"], row["state"]): row["proposals"] for row in asked(story, "l03")}
    counted: dict[tuple[str, str], int] = {}
    for view in story.gate.views():
        key = (view.author, view.state)
        counted[key] = counted.get(key, 0) + 1
    assert found == counted
    assert {"applied", "invalid", "rejected", "reverted", "withdrawn"} <= {s for _, s in found}


def test_who_decides(story: Story) -> None:
    found = {(row["principal"], row["outcome"]): row["decisions"] for row in asked(story, "l04")}
    operator = story.gate.operator
    assert (found[operator, "approve"], found[operator, "reject"]) == (1, 1)
    assert found[story.gate.steward, "withdraw"] == 1
    assert found[story.gate.ids.principal("policy"), "approve"] >= 3


def test_decisions_of_one_person(story: Story) -> None:
    rows = asked(story, "l05")
    governance = story.gate.ids.graph("governance")
    assert [row["graphs"] for row in rows if row["entry"] > 0] == [[governance]]


def test_who_is_turned_away(story: Story) -> None:
    (row,) = asked(story, "l06")
    assert (row["author"], row["refused"], row["late"]) == (story.gate.steward, 1, 0)


def test_what_was_taken_back(story: Story) -> None:
    (row,) = asked(story, "l07")
    undone = story.gate.ledger.proposal(story.of("inverse"))
    assert row["proposal"] == story.of("reverted")
    assert (row["reverted_by"], row["entry"]) == (story.gate.operator, undone.proof)
    assert row["stood"] > timedelta(days=1).total_seconds()


def test_sweeps_of_a_day(story: Story) -> None:
    sweeps = RunFacts(story.warehouse, story.gate.ids, Clock(datetime(2026, 12, 1, tzinfo=UTC)))
    sweeps.ran(swept("day", Outcome("proposed", 2, 7, ("p1", "p2"), quads=3)), "")
    (row,) = [row for row in asked(story, "l08") if row["steward"] == "steward-day"]
    assert row == {
        **{"day": "2026-12-01", "steward": "steward-day", "sweeps": 1, "failed": 0},
        **{"facts": 7, "proposals": 2, "quads": 3},
    }


def test_stewards_in_trouble(story: Story) -> None:
    clock = Clock(datetime(2026, 12, 2, tzinfo=UTC))
    sweeps = RunFacts(story.warehouse, story.gate.ids, clock)
    sick = Job("sweep", "sick")
    for run in (
        Run("r1", sick, "retrying", 0.0, 1, error="a"),
        swept("sick", Outcome("unchanged", 2, 7)),
        Run("r3", sick, "retrying", 0.0, 1, error="b"),
        Run("r3", sick, "retrying", 0.0, 2, error="read 7 facts; refused: c"),
    ):
        sweeps.ran(run, "")
        clock.move(minutes=1)
    (row,) = [row for row in asked(story, "l09") if row["steward"] == "steward-sick"]
    assert (row["project"], row["failures"]) == ("sick", 2)
    assert row["succeeded"].startswith("2026-12-02T00:01:00")
    assert row["detail"] == "read 7 facts; refused: c"
    assert "steward-day" not in {row["steward"] for row in asked(story, "l09")}


def test_what_changes(story: Story) -> None:
    rows = asked(story, "l10")
    shop = [row for row in rows if row["graph"] == story.gate.ids.graph("lineage/shop")]
    assert [row["week"] for row in shop] == ["2026-11-16", "2026-11-23"]
    # Naming somebody took a day: all else came in the week after.
    assert [(row["applied"], row["waited"], row["quads"]) for row in shop] == [(1, 0, 3), (2, 1, 6)]
    governance = [row for row in rows if row["graph"] == story.gate.ids.graph("governance")]
    assert sum(row["waited"] for row in governance) == 1
