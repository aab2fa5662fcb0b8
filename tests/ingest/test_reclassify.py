"""Stored facts under changed rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from ingest import reclassify
from ingest.classify import OPERATION, Classifier, Rule
from ingest.errors import WarehouseBusy
from ingest.events import Event
from ingest.reclassify import Reclassifier
from ingest.warehouse import Warehouse
from ontology.ids import Ids

IDS = Ids("http://test.localhost")
ROUTE = Rule(
    iri="urn:rule:route",
    priority=1,
    source="otel.span",
    event_class="urn:Route",
    subject_kind=OPERATION,
    operation_kind="http",
    kinds=frozenset(),
    names=(),
    present=(("http.route",),),
    equal=(),
    name_template="{http.route}",
)
ANY = replace(ROUTE, iri="urn:rule:any", event_class="urn:Any", priority=0, present=())

AnEvent = Callable[..., Event]


def rules(version: str, *given: Rule) -> Callable[[], Classifier]:
    classifier = Classifier(given, IDS, version)
    return lambda: classifier


@pytest.fixture
def stored(warehouse: Warehouse, an_event: AnEvent) -> Warehouse:
    """Facts of two projects: five of each route, and one without."""
    classifier = rules("v1", ROUTE)()
    for project in ("shop", "other's"):
        events = [an_event(project=project, event_id=str(n), seq=n) for n in range(1, 6)]
        events.append(an_event(project=project, event_id="bare", seq=9, attributes={}))
        warehouse.insert([classifier.classify(e) for e in events], {1: 10, 9: 90}, "v1")
    return warehouse


def answers(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    rows = warehouse.query("SELECT class, rules, count() FROM events GROUP BY ALL").rows
    return {(class_, version): number for class_, version, number in rows}


@pytest.mark.parametrize("page", [1, 4, 100])
def test_facts_get_the_class_that_the_rules_give_now(
    stored: Warehouse, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclassify, "_PAGE", page)
    told: list[Mapping[str, int]] = []
    again = Reclassifier(stored, rules("v2", ANY))
    dry = again.run(dry_run=True, on_change=told.append)
    assert answers(stored) == {("urn:Route", "v1"): 10, ("", "v1"): 2}
    assert not told
    done = again.run(on_change=lambda changed: told.append(dict(changed)))
    assert done == dry
    assert (done.looked_at, done.rules) == (12, "v2")
    assert done.changed == {("urn:Route", "urn:Any"): 10, ("", "urn:Any"): 2}
    assert done.first_changed == told[-1] == {"shop": 1, "other's": 1}
    assert answers(stored) == {("urn:Any", "v2"): 12}
    # What is not classified stays what it was.
    rows = stored.query(
        "SELECT seq, batch, toUnixTimestamp64Nano(received) FROM events"
        " WHERE project = 'shop' AND event_id IN ('1', 'bare') ORDER BY seq"
    ).rows
    assert rows == ((1, "sha256:a", 10), (9, "sha256:a", 90))
    assert again.run().looked_at == 0


def test_a_class_that_is_no_longer_given_goes(stored: Warehouse) -> None:
    done = Reclassifier(stored, rules("v2")).run(project="other's", since=3)
    assert done.changed == {("urn:Route", ""): 3}
    assert done.looked_at == 4
    assert done.first_changed == {"other's": 3}
    assert answers(stored) == {("urn:Route", "v1"): 7, ("", "v1"): 1, ("", "v2"): 4}


def test_a_later_batch_stays_and_a_replay_undoes_nothing(
    stored: Warehouse, an_event: AnEvent
) -> None:
    new = rules("v2", ANY)
    Reclassifier(stored, new).run()
    # A client that tries again, and a replay of the first batch, by the rules as they are.
    for seq in (7, 1):
        stored.insert([new().classify(an_event(event_id="1", seq=seq))], {}, "v2")
    rows = stored.query("SELECT seq, class FROM events WHERE event_id = '1'").rows
    assert sorted(rows) == [(1, "urn:Any"), (7, "urn:Any")]
    assert answers(stored) == {("urn:Any", "v2"): 12}


def test_cut_short_it_goes_on_where_it_stopped(
    stored: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclassify, "_PAGE", 4)
    again = Reclassifier(stored, rules("v2", ANY))
    assert again.run(stopping=lambda: True).looked_at == 4
    assert again.run().looked_at == 8
    assert answers(stored) == {("urn:Any", "v2"): 12}


def test_one_run_at_a_time(stored: Warehouse) -> None:
    again = Reclassifier(stored, rules("v2", ANY))

    def during(_: Mapping[str, int]) -> None:
        with pytest.raises(WarehouseBusy, match="already"):
            again.run()

    assert again.run(on_change=during).looked_at == 12
