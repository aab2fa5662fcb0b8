"""Stewards mark what they haven't seen, on facts in a real warehouse and a clock that tests move.

To write the golden file anew after a wanted change, run this test with ``WRITE_GOLDEN=1`` in the
environment, and read the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad
from starlette.responses import JSONResponse, Response

from ingest.classify import Classifier
from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.openlineage import events_of
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.terms import to_nquads
from ontology.vocab import Fo, Rdf, Rdfs, Xsd
from stewards import job_queries
from stewards.draft import Limits
from stewards.fact_queries import Page
from stewards.loop import TelemetrySteward
from stewards.outcome import Outcome
from stewards.sightings import SIGHTINGS, Sighting, aged, last_seen
from stewards.sources import SOURCES, claims
from stewards.sweep import NOT_LOOKED
from stewards.watermark import WatermarkStore
from tests.stewards.conftest import START, http
from tests.stewards.test_job_lineage import bodies
from tests.stewards.test_joins import Shop

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, Hire, PlayedGate, Traffic

GOLDEN = Path(__file__).parent / "golden" / "dormant-proposals.nq"
DAYS = 30
A_DAY = timedelta(days=1)


@dataclass
class History:
    """A project's traffic over time, and its steward."""

    traffic: Traffic
    gate: PlayedGate
    clock: Clock
    ids: Ids
    hire: Hire
    steward: TelemetrySteward

    def send(
        self,
        *events: Event,
        at: datetime | None = None,
        received: datetime | None = None,
        trusted: bool = True,
    ) -> str:
        """These events as one batch, which happened and came now where nothing else is said; its
        commitment."""
        self.traffic.seq += 1
        seq, project = self.traffic.seq, self.traffic.project
        digest = f"sha256:{hashlib.sha256(f'{project} {seq}'.encode()).hexdigest()}"
        happened = nanoseconds(at or self.clock.now)
        classify = self.traffic.classifier.classify
        self.traffic.warehouse.insert(
            [
                classify(event._replace(time=happened, attributes=self.own(event)))._replace(
                    seq=seq, batch=digest, trusted=trusted
                )
                for event in events
            ],
            {seq: nanoseconds(received or self.clock.now)},
        )
        return digest

    def own(self, event: Event) -> dict[str, str]:
        """The attributes with stores of this project alone: the graph is shared by all tests."""
        return {
            key: f"{self.traffic.project}.{value}" if key == "server.address" else value
            for key, value in event.attributes.items()
        }

    def begin(self) -> None:
        """The whole shop is known, and the steward has begun to count the days."""
        self.send(*self.traffic.order("t1"))
        assert self.steward.run_once().state == "proposed"

    def after(self, days: int) -> Outcome:
        """One cycle, so many days later."""
        self.clock.pass_by(timedelta(days=days))
        return self.steward.run_once()

    def dormant(self) -> dict[str, str]:
        """Since when each thing is dormant, by the end of its IRI."""
        graph = f"<{self.ids.lineage_graph(self.traffic.project)}>"
        return {
            thing.strip("<>").rsplit("/", 1)[1]: since[1:11]
            for thing, since in self.gate.select(
                f"SELECT ?thing ?since {{ GRAPH {graph} {{ ?thing <{Fo.dormantSince}> ?since }} }}"
            )
        }

    def last(self) -> dict[str, Any]:
        """The newest proposal."""
        return self.gate.made()[-1]

    def mark(self, thing: str, since: str = "2026-11-01T00:00:00Z") -> Quad:
        moment = Literal(since, datatype=NamedNode(Xsd.dateTime))
        graph = NamedNode(self.ids.lineage_graph(self.traffic.project))
        return Quad(NamedNode(thing), NamedNode(Fo.dormantSince), moment, graph)

    def additions(self, proposal: str) -> str:
        """What a proposal adds, as N-Quads."""
        return to_nquads(self.gate.deltas[proposal].additions).decode()

    def service(self, name: str) -> str:
        return self.ids.service(self.traffic.project, name)


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.fixture
def history(traffic: Traffic, gate: PlayedGate, clock: Clock, ids: Ids, hire: Hire) -> History:
    return History(traffic, gate, clock, ids, hire, hire(dormant_after=DAYS))


FULFILMENT = {
    "fulfilment",
    "consume%20shipments",
    "UPDATE%20stock",
    "stock",
}


def test_what_is_not_seen_is_marked_in_one_proposal_and_lifted_when_it_is_seen(
    history: History, ids: Ids, project: str
) -> None:
    history.begin()
    everything = history.gate.lineage(project)
    # The first look comes after a day at work, and then one each day.
    assert history.after(0).state == "idle"
    assert history.after(29).state == "idle"
    history.send(*history.traffic.order("t2")[:6])
    history.after(0)
    outcome = history.after(11)
    assert (outcome.state, len(outcome.proposals)) == ("proposed", 1)
    made = history.last()
    assert made["state"] == "applied"
    assert made["evidence"] == []
    assert set(history.dormant()) == FULFILMENT
    added = history.gate.deltas[made["id"]]
    assert {quad.predicate.value for quad in added.additions} == {Fo.dormantSince}
    assert not added.removals
    written = "".join(
        [f"# {made['rationale']}\n", history.additions(made["id"]).replace(project, "shop")]
    )
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(written, encoding="utf-8")
    assert written == GOLDEN.read_text(encoding="utf-8")

    # Nothing new, so nothing more: not in the next cycle, and not on the next day.
    history.gate.requests.clear()
    assert history.after(0).state == "idle"
    assert history.gate.requests == ["POST /facts", "POST /facts"]
    assert history.after(1).state == "idle"

    # What goes on meanwhile asks no more than it did.
    history.send(*history.traffic.order("t3")[:5])
    history.gate.requests.clear()
    assert history.after(0).state == "unchanged"
    assert history.gate.requests.count("POST /sparql") == 1

    digest = history.send(*history.traffic.order("t4"))
    assert history.after(0).state == "proposed"
    lifted = history.last()
    assert lifted["evidence"] == [digest]
    assert lifted["rationale"] == (
        "No longer dormant. Seen again: 1 dataset, 2 operations, 1 service."
    )
    assert history.gate.lineage(project) == everything
    history.send(*history.traffic.order("t5"))
    assert history.after(0).state == "unchanged"
    assert history.after(1).state == "idle"


def test_history_that_comes_late_wakes_nothing(history: History) -> None:
    history.begin()
    history.after(40)
    asleep = history.dormant()
    assert "fulfilment" in asleep
    assert set(asleep.values()) == {str(START.date())}
    for number, at in enumerate((START - 800 * A_DAY, START + 5 * A_DAY)):
        history.send(*history.traffic.order(f"late{number}"), at=at)
        assert history.after(0).state == "unchanged"
    assert history.dormant() == asleep
    assert history.after(1).state == "idle"
    assert history.dormant() == asleep
    # What happened lately and comes late is news.
    history.send(*history.traffic.order("news"), at=history.clock.now - 20 * A_DAY)
    assert history.after(0).state == "proposed"
    assert history.dormant() == {}


def test_a_clock_that_is_years_ahead_keeps_nothing_awake(history: History) -> None:
    history.send(*history.traffic.order("t1"), at=START + 9_000 * A_DAY)
    history.steward.run_once()
    assert history.after(30).state == "idle"
    assert history.after(1).state == "proposed"
    assert set(history.dormant().values()) == {str(START.date())}
    # It is awake as long as what it sends arrives.
    history.send(*history.traffic.order("t2"), at=START + 9_000 * A_DAY)
    history.after(0)
    assert history.dormant() == {}


def test_what_no_fact_is_left_of_is_dormant_too(history: History, warehouse: Warehouse) -> None:
    digest = history.send(*history.traffic.order("t1"))
    history.steward.run_once()
    warehouse.erase([digest], {})
    history.send(
        history.traffic.span("t2", "1", "", "web", "server", http("POST", route="/checkout"))
    )
    history.after(20)
    assert history.dormant()
    # On the day after which none can have shown it.
    assert set(history.dormant().values()) == {str((START + 20 * A_DAY - 31 * A_DAY).date())}
    assert not {"web", "POST%20%2Fcheckout"} & set(history.dormant())
    assert "Of 14 no facts are left." in history.last()["rationale"]


def test_what_people_stated_and_telemetry_never_showed_is_not_marked(
    history: History, ids: Ids, project: str
) -> None:
    history.begin()
    graph = NamedNode(ids.lineage_graph(project))
    mainframe = NamedNode(history.service("mainframe"))
    history.gate.add(
        [
            Quad(mainframe, NamedNode(Rdf.type), NamedNode(Fo.Service), graph),
            Quad(mainframe, NamedNode(Rdfs.label), Literal("mainframe"), graph),
            Quad(mainframe, NamedNode(Fo.inProject), NamedNode(ids.project(project)), graph),
        ]
    )
    history.after(40)
    assert "web" in history.dormant()
    assert "mainframe" not in history.dormant()


def test_a_mark_that_a_person_made_is_left_alone(history: History) -> None:
    history.begin()
    history.gate.add([history.mark(history.service("fulfilment"))])
    assert history.after(2).state == "idle"
    history.send(*history.traffic.order("t2"))
    assert history.after(0).state == "unchanged"
    assert history.after(1).state == "idle"
    assert history.dormant() == {"fulfilment": "2026-11-01"}


def test_a_mark_that_was_reverted_is_not_made_again_until_the_thing_was_seen(
    history: History,
) -> None:
    history.begin()
    history.after(40)
    history.gate.decide(history.last()["id"], "reverted")
    assert history.dormant() == {}
    assert history.after(1).state == "idle"
    history.send(*history.traffic.order("t2"))
    history.after(0)
    assert history.after(40).state == "proposed"
    assert set(history.dormant().values()) == {str((START + 41 * A_DAY).date())}


def test_a_mark_that_somebody_wants_to_stay_is_not_lifted_again(history: History) -> None:
    history.begin()
    history.after(40)
    asleep = history.dormant()
    history.send(*history.traffic.order("t2"))
    history.after(0)
    assert history.dormant() == {}
    history.gate.decide(history.last()["id"], "reverted")
    assert history.dormant() == asleep
    history.send(*history.traffic.order("t3"))
    assert history.after(0).state == "unchanged"
    assert history.after(1).state == "idle"
    history.send(*history.traffic.order("t4"))
    assert history.after(0).state == "unchanged"
    assert history.dormant() == asleep


def test_nothing_is_marked_while_the_facts_are_made_anew(history: History) -> None:
    history.begin()
    history.gate.pending = 5
    assert history.after(40).state == "idle"
    assert history.dormant() == {}
    history.gate.pending = 0
    # It tries again after a while.
    assert history.after(0).state == "idle"
    history.clock.pass_by(timedelta(minutes=11))
    assert history.after(0).state == "proposed"
    assert history.dormant()


def test_steady_traffic_that_is_always_behind_doesn_t_stop_the_look(history: History) -> None:
    history.begin()
    history.clock.pass_by(40 * A_DAY)
    history.send(*history.traffic.order("t2")[:6])
    history.gate.pending = 5
    history.after(0)
    assert set(history.dormant()) == FULFILMENT


def test_what_another_project_knows_is_not_marked(history: History, ids: Ids, project: str) -> None:
    history.begin()
    history.gate.found(f"{project}-other")
    other = NamedNode(ids.lineage_graph(f"{project}-other"))
    stock = NamedNode(ids.dataset("postgresql", f"{project}.db.shop", "shop", "stock"))
    known = [
        Quad(stock, NamedNode(Rdf.type), NamedNode(Fo.Dataset), other),
        Quad(stock, NamedNode(Rdfs.label), Literal("stock"), other),
    ]
    history.gate.add(known)
    history.clock.pass_by(40 * A_DAY)
    history.send(*history.traffic.order("t2")[:6])
    history.after(0)
    assert set(history.dormant()) == FULFILMENT - {"stock"}
    history.gate.remove(known)
    history.after(1)
    assert set(history.dormant()) == FULFILMENT
    history.gate.add(known)
    history.after(1)
    assert set(history.dormant()) == FULFILMENT - {"stock"}
    assert history.last()["rationale"] == (
        "No longer dormant. Known to other projects too: 1 dataset."
    )


def test_what_a_page_s_key_shows_wakes_too_and_is_no_evidence(history: History) -> None:
    history.begin()
    history.after(40)
    history.send(*history.traffic.order("t2"), trusted=False)
    assert history.after(0).state == "proposed"
    lifted = history.last()
    assert lifted["evidence"] == []
    assert lifted["state"] == "applied"
    assert "Only keys that stand in pages showed" in lifted["rationale"]
    assert history.dormant() == {}


def test_evidence_of_what_is_awake_is_what_showed_it_lately(history: History) -> None:
    history.begin()
    history.after(40)
    # The trusted sender tells of long ago; whoever saw it lately isn't one.
    history.send(*history.traffic.order("late"), at=START - 100 * A_DAY)
    digest = history.send(*history.traffic.order("t2")[:2])
    history.send(*history.traffic.order("t3"), trusted=False)
    assert history.after(0).state == "proposed"
    assert history.last()["evidence"] == [digest]
    assert history.dormant() == {}


def test_a_steward_that_lost_its_notes_finds_out_again(
    history: History, hire: Hire, tmp_path: Path
) -> None:
    history.begin()
    history.after(40)
    asleep = history.dormant()
    assert asleep
    other = WatermarkStore(tmp_path / "other.sqlite")
    history.steward = hire(dormant_after=DAYS, store=other)
    history.send(*history.traffic.order("t2")[:6])
    history.after(0)
    # Until it has looked, it doesn't know what it marked.
    assert history.dormant() == asleep
    history.after(1)
    assert set(history.dormant()) == FULFILMENT
    other.close()


def refusing(times: int, marker: str, answer: Callable[[], Response]) -> Any:
    left = [times]

    def rule(method: str, path: str, body: bytes) -> Response | None:
        if left[0] and marker.encode() in body:
            left[0] -= 1
            return answer()
        return None

    return rule


def too_much() -> Response:
    kind = "https://w3id.org/fractalops/problems/facts-query-limit"
    return JSONResponse({"type": kind, "title": "Too much", "status": 422, "detail": ""}, 422)


def test_a_look_that_is_too_much_for_the_facts_asks_for_less_at_once(history: History) -> None:
    history.begin()
    history.gate.rules.append(refusing(2, "REPLACE", too_much))
    assert history.after(40).state == "proposed"
    assert history.dormant()


def test_a_look_that_can_t_be_finished_marks_nothing_and_holds_nothing_up(
    history: History,
) -> None:
    history.begin()
    history.gate.rules.append(refusing(3, "REPLACE", too_much))
    outcome = history.after(40)
    assert (outcome.state, outcome.set_aside) == ("idle", ((NOT_LOOKED, 1),))
    assert history.dormant() == {}
    assert history.after(0).set_aside == ()
    assert history.after(1).state == "proposed"
    assert history.dormant()


def test_marks_beyond_a_proposal_follow_on_the_next_day(history: History, hire: Hire) -> None:
    history.steward = hire(limits=Limits(quads=60), dormant_after=DAYS)
    history.begin()
    history.steward = hire(limits=Limits(quads=5), dormant_after=DAYS)
    history.after(40)
    assert len(history.dormant()) == 5
    assert history.last()["rationale"].endswith("more follow in a day.")
    for number in (2, 3):
        history.after(1)
        assert len(history.dormant()) == min(5 * number, 14)


def test_without_days_nothing_is_dormant(history: History, hire: Hire) -> None:
    history.steward = hire(dormant_after=0)
    history.begin()
    assert history.after(400).state == "idle"
    assert history.dormant() == {}


def test_facts_are_asked_from_the_newest_on_and_no_further_than_needed(
    history: History, ids: Ids, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stewards.dormancy.FACTS_AT_ONCE", 8)
    history.begin()
    for number in range(2, 6):
        history.clock.pass_by(A_DAY)
        history.send(*history.traffic.order(f"t{number}"))
    asked: list[bytes] = []

    def listen(method: str, path: str, body: bytes) -> Response | None:
        if b"REPLACE" in body:
            asked.append(body)
        return None

    history.gate.rules.append(listen)
    history.after(1)
    # One part of five shows everything; each kind of thing has one question.
    newest = f"seq >= {history.traffic.seq} AND seq <= {history.traffic.seq}".encode()
    assert all(newest in question for question in asked)
    assert 0 < len(asked) <= 10


def test_the_last_day_is_found_behind_history_that_came_later(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stewards.dormancy.FACTS_AT_ONCE", 8)
    history.begin()
    history.clock.pass_by(10 * A_DAY)
    history.send(*history.traffic.order("late"), at=START - 100 * A_DAY)
    history.send(*history.traffic.order("t2")[:2])
    history.after(0)
    history.after(45)
    assert history.dormant()["fulfilment"] == str(START.date())
    assert history.dormant()["web"] == str((START + 10 * A_DAY).date())


def test_every_source_has_its_sightings() -> None:
    assert set(SIGHTINGS) == set(SOURCES)


def test_sightings_show_all_that_sweeps_show_by_the_day(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str
) -> None:
    """Whatever a sweep brings into the graph is seen, dependencies apart: they are as dormant as
    their ends."""
    shop = Shop(project)
    named = {"feature": "wish list", **http("GET", route="/wishes")}
    feature = shop.span("b", "1", "", "server", attributes=named)
    events = [*shop.checkout(), feature, *lineage(project)]
    day = nanoseconds(START - 7 * A_DAY)
    warehouse.insert(
        [
            classifier.classify(event._replace(time=day))._replace(seq=1, batch="sha256:1")
            for event in events
        ],
        {1: nanoseconds(START)},
    )
    asked: list[str] = []

    def ask(sql: str) -> Any:
        asked.append(sql)
        return warehouse.query(sql).rows

    shown = {
        claim.introduces: claim.quad.object
        for claim in claims(Page(project, 0, 1, len(events)), ask, ids).claims
        if claim.introduces
    }
    asked.clear()
    seen = last_seen(aged(project, START.date(), 1, 1), ask, ids)
    assert set(seen) == {t for t, kind in shown.items() if kind != NamedNode(Fo.Dependency)}
    assert set(seen.values()) == {Sighting(7, "sha256:1")}
    kinds = {kind.value for kind in shown.values() if isinstance(kind, NamedNode)}
    assert {Fo.Service, Fo.HttpRoute, Fo.Dataset, Fo.Page, Fo.Feature, Fo.ErrorIssue} <= kinds
    assert {Fo.Job, Fo.Column, Fo.Release, Fo.ProductEventType, Fo.DataStore} <= kinds
    # Each question looks at the facts through their ages, or it would take a number for an age.
    assert all(sql.count("FROM events") == 1 and "REPLACE" in sql for sql in asked)
    assert last_seen(aged(project, START.date(), 1, 1, 6), ask, ids) == {}
    assert last_seen(aged(project, START.date(), 2, 9), ask, ids) == {}


def lineage(project: str) -> list[Event]:
    batch = EvidenceBatch(
        1,
        "sha256:1",
        project,
        job_queries.SOURCE,
        "application/json",
        1,
        nanoseconds(START),
        None,
    )
    found = events_of(json.dumps(bodies()).encode(), batch)
    return [item for item in found if isinstance(item, Event)]
