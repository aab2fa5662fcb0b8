"""Product events, errors and traces of one request, joined by real queries on real facts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import Literal, Quad

from ingest.classify import Classifier
from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE, Event
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.vocab import Fo, Rdfs
from stewards.draft import Draft, Held, Limits, drafts
from stewards.fact_queries import Page
from stewards.identities import TOO_MANY
from stewards.product_queries import read
from stewards.sources import claims

if TYPE_CHECKING:
    from tests.stewards.conftest import Hire, PlayedGate, Traffic

NOON = 1_763_000_000_000_000_000
SECOND = 10**9
KEY = "0123456789abcdef0123456789abcdef"


@dataclass
class Shop:
    """Makes events of one project, as the decoders do."""

    project: str

    def span(self, trace: str, span: str, parent: str, kind: str, **more: Any) -> Event:
        attributes = more.pop("attributes", {})
        return self._event(
            "otel.span",
            f"{trace}-{span}",
            name=more.pop("name", kind),
            kind=kind,
            service=more.pop("service", "web"),
            trace_id=trace,
            span_id=span,
            parent_span_id=parent,
            attributes=attributes,
            **more,
        )

    def product(self, number: str, name: str, **more: Any) -> Event:
        return self._event(PRODUCT_SOURCE, number, name=name, **more)

    def error(self, number: str, **more: Any) -> Event:
        attributes = {
            "error.issue": KEY,
            "error.culprit": "shop.pay in charge",
            "exception.type": "CardDeclined",
            **more.pop("attributes", {}),
        }
        return self._event(
            ERROR_SOURCE,
            number,
            **{"name": "CardDeclined", "kind": "error", "attributes": attributes, **more},
        )

    def _event(self, source: str, number: str, **more: Any) -> Event:
        empty = dict.fromkeys(
            ("name", "kind", "status", "service", "release", "environment", "session"), ""
        ) | dict.fromkeys(("trace_id", "span_id", "parent_span_id"), "")
        return Event(
            project=self.project,
            source=source,
            event_id=number,
            **{"time": NOON, "duration_ns": SECOND, **empty, **more},
        )

    def checkout(self, trace: str = "a") -> list[Event]:
        """A request that fails: browser, server, a call in it, and the database."""
        return [
            self.span(
                trace,
                "1",
                "",
                "server",
                attributes={"http.request.method": "POST", "http.route": "/pay"},
                release="1.0",
            ),
            self.span(trace, "2", "1", "internal", name="charge", release="1.0"),
            self.span(
                trace,
                "3",
                "2",
                "client",
                release="1.0",
                attributes={
                    "db.system.name": "sqlite",
                    "db.query.text": "INSERT INTO bills VALUES (?)",
                },
            ),
            self.product(
                f"{trace}-p",
                "paid",
                trace_id=trace,
                span_id="2",
                attributes={
                    "feature": "gift cards",
                    "$current_url": "https://shop.example/orders/4711?mail=a",
                },
            ),
            self.error(f"{trace}-e", trace_id=trace, span_id="3"),
        ]


def graph_of(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, batches: list[list[Event]]
) -> tuple[set[Quad], list[Draft]]:
    """The graph after each batch arrived, and was read, before the next one came."""
    graph: set[Quad] = set()
    made: list[Draft] = []
    project = next(event.project for events in batches for event in events)
    for seq, events in enumerate(batches, 1):
        warehouse.insert(
            [
                classifier.classify(event)._replace(seq=seq, batch=f"sha256:{seq:064x}")
                for event in events
            ]
        )
        page = Page(project, seq - 1, seq, len(events))
        held = Held(
            frozenset(graph),
            frozenset((str(q.subject)[1:-1], q.predicate.value) for q in graph),
        )
        wanted = claims(page, lambda sql: warehouse.query(sql).rows, ids)
        for draft in drafts(wanted.claims, held, Limits()).drafts:
            made.append(draft)
            graph |= set(draft.quads)
    return graph, made


@pytest.fixture
def shop(project: str) -> Shop:
    return Shop(project)


def links(graph: set[Quad], *predicates: str) -> set[tuple[str, str, str]]:
    """Links by the labels of their ends."""
    labels = {
        str(quad.subject): quad.object.value
        for quad in graph
        if quad.predicate.value == Rdfs.label and isinstance(quad.object, Literal)
    }
    return {
        (labels[str(q.subject)], q.predicate.value.rpartition("#")[2], labels[str(q.object)])
        for q in graph
        if q.predicate.value in predicates
    }


ISSUE = "CardDeclined: shop.pay in charge"
JOINED = {
    ("paid", "concernsFeature", "gift cards"),
    ("paid", "onPage", "/orders/{id}"),
    ("gift cards", "onPage", "/orders/{id}"),
    ("paid", "reaches", "POST /pay"),
    ("gift cards", "reaches", "POST /pay"),
    ("/orders/{id}", "reaches", "POST /pay"),
    (ISSUE, "affects", "web"),
    (ISSUE, "affects", "INSERT bills"),
    (ISSUE, "affects", "POST /pay"),
    (ISSUE, "affects", "gift cards"),
    (ISSUE, "seenInRelease", "web 1.0"),
}
JOINS = (Fo.concernsFeature, Fo.onPage, Fo.reaches, Fo.affects, Fo.seenInRelease)


def test_a_request_that_failed_is_joined_across_all_sources(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop
) -> None:
    graph, made = graph_of(warehouse, classifier, ids, [shop.checkout()])
    assert links(graph, *JOINS) == JOINED
    assert "1 page, 1 product event type" in made[0].rationale


@pytest.mark.parametrize("order", list(permutations(range(5)))[3::31])
def test_whatever_comes_last_completes_the_joins(
    warehouse: Warehouse,
    classifier: Classifier,
    ids: Ids,
    project: str,
    shop: Shop,
    order: tuple[int, ...],
) -> None:
    events = shop.checkout()
    graph, made = graph_of(warehouse, classifier, ids, [[events[place]] for place in order])
    assert links(graph, *JOINS) == JOINED
    whole, _ = graph_of(
        warehouse, classifier, ids, [[e._replace(project=f"{project}-2") for e in events]]
    )
    assert {str(q).replace(f"{project}-2", project) for q in whole} == {str(q) for q in graph}
    # Each link rests on the batches of both of its ends.
    (reaching,) = (d for d in made if any(q.predicate.value == Fo.reaches for q in d.quads))
    assert len(reaching.evidence) >= 2


@pytest.mark.parametrize("together", [True, False])
def test_a_page_that_a_browser_traces_reaches_what_its_trace_enters(
    warehouse: Warehouse,
    classifier: Classifier,
    ids: Ids,
    shop: Shop,
    together: bool,
) -> None:
    request = {"http.request.method": "GET", "server.address": "shop.example"}
    browser = [
        shop.span(
            *("a", "1", "", "internal"),
            service="web-js",
            name="/orders/4711",
            attributes={"op": "pageload", "feature": "order history"},
        ),
        shop.span("a", "2", "1", "client", service="web-js", attributes=request),
    ]
    served = {"http.request.method": "GET", "http.route": "/api/orders"}
    server = [shop.span("a", "3", "2", "server", attributes=served)]
    batches = [server + browser] if together else [server, browser]
    graph, _ = graph_of(warehouse, classifier, ids, batches)
    assert links(graph, Fo.reaches, Fo.calls, Fo.callsOperation) == {
        ("/orders/{id}", "reaches", "GET /api/orders"),
        ("order history", "reaches", "GET /api/orders"),
        ("web-js", "calls", "web"),
        ("GET shop.example", "callsOperation", "GET /api/orders"),
    }
    # The page is none of the service's operations, and the same that product events see.
    assert links(graph, Fo.performs, Fo.offers) == {
        ("web-js", "performs", "GET shop.example"),
        ("web", "offers", "GET /api/orders"),
    }
    assert ids.page(shop.project, "/orders/{id}") in {str(q.subject)[1:-1] for q in graph}


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_however_events_are_dealt_out_the_graph_ends_the_same(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, seed: int, parts: int
) -> None:
    dealer = random.Random(seed)
    project = f"dealt-{dealer.getrandbits(64):x}"
    shop = Shop(project)
    events = [*shop.checkout("a"), *shop.checkout("b"), *browsing(shop)]
    dealer.shuffle(events)
    batches: list[list[Event]] = [[] for _ in range(parts)]
    for event in events:
        dealer.choice(batches).append(event)
    graph, _ = graph_of(warehouse, classifier, ids, [batch for batch in batches if batch])
    assert links(graph, *JOINS) == JOINED | {
        ("/basket", "reaches", "GET /items"),
        (ISSUE, "affects", "GET /items"),
    }


def browsing(shop: Shop) -> list[Event]:
    """One session, without trace ids: a click, the request that follows, an error in it."""

    def request(span: str, at: int, route: str, **more: Any) -> Event:
        attributes = {"http.request.method": "GET", "http.route": route}
        return shop.span(
            f"s{span}", span, "", "server", time=at, session="s", attributes=attributes, **more
        )

    return [
        shop.product("v", "$pageview", session="s", attributes={"$pathname": "/basket"}),
        request("1", NOON + SECOND, "/items", release="1.0"),
        shop.error("x", session="s", service="web", time=NOON + SECOND + 5),
        # Before the click, too late after it, of another service, of another session.
        request("2", NOON - 3 * SECOND, "/before"),
        request("3", NOON + 3 * SECOND, "/late"),
        request("4", NOON - 10 * SECOND, "/ended", duration_ns=9 * SECOND, service="other"),
        request("5", NOON, "/strange")._replace(session="t"),
    ]


def test_a_session_joins_only_what_belongs_together_in_time(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop
) -> None:
    graph, _ = graph_of(warehouse, classifier, ids, [browsing(shop)])
    assert links(graph, Fo.reaches, Fo.affects) == {
        ("/basket", "reaches", "GET /items"),
        (ISSUE, "affects", "GET /items"),
        (ISSUE, "affects", "web"),
    }


def test_what_has_a_trace_is_not_joined_by_its_session(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop
) -> None:
    events = [
        e._replace(trace_id="q", span_id="") if e.source != "otel.span" else e
        for e in browsing(shop)
    ]
    graph, _ = graph_of(warehouse, classifier, ids, [events])
    assert links(graph, Fo.reaches) == set()


def test_a_trace_without_a_span_reaches_every_entry_and_an_error_there_none(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop
) -> None:
    said = {"span_id": "", "trace_id": "a"}
    events = [*shop.checkout()[:3], shop.product("p", "paid", **said), shop.error("e", **said)]
    graph, _ = graph_of(warehouse, classifier, ids, [events])
    assert links(graph, Fo.reaches, Fo.affects) == {("paid", "reaches", "POST /pay")}


def test_features_are_named_by_events_flags_tags_and_spans(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop
) -> None:
    spans = [
        e._replace(attributes={**e.attributes, "feature": "billing"}) for e in shop.checkout()[2:3]
    ]
    events = [
        shop.product("f", "$feature_flag_called", attributes={"$feature_flag": "new-basket"}),
        shop.error("t", attributes={"tags.feature": "vouchers"}, trace_id="a", span_id="2"),
        *shop.checkout()[:2],
        *spans,
    ]
    graph, _ = graph_of(warehouse, classifier, ids, [events])
    assert links(graph, Fo.concernsFeature, Fo.reaches) == {
        ("$feature_flag_called", "concernsFeature", "new-basket"),
        ("billing", "reaches", "POST /pay"),
    }
    affected = {of for _, _, of in links(graph, Fo.affects)}
    assert {"vouchers", "billing"} <= affected


@pytest.mark.parametrize(
    "said",
    ["4711", "true", '{"a": 1}', "ann@example.org", "[redacted] of ann", "f" * 201, " \u200b"],
)
def test_what_is_no_name_makes_no_feature(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop, said: str
) -> None:
    event = shop.product("p", "paid", attributes={"feature": said})
    graph, _ = graph_of(warehouse, classifier, ids, [[event]])
    assert not links(graph, Fo.concernsFeature)
    assert any(q.predicate.value == Rdfs.label for q in graph)


PATHS = (
    "/orders/4711/items/2",
    "/users/6f1c2a34-1111-4222-8333-944455556666",
    "/commits/0a1b2c3d4e5f6",
    "/tokens/abc_1234-defghijklmnopqr",
    "/deadbeefdeadbeef",
    "/über/uns",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_place_is_the_page_that_a_view_of_it_is_about(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, shop: Shop, path: str
) -> None:
    url = {"$current_url": f"https://shop.example{path}?q=1#top"}
    events = [
        shop.product("v", "$pageview", attributes=url),
        shop.product("p", "paid", attributes=url),
    ]
    graph, _ = graph_of(warehouse, classifier, ids, [events])
    pages = {q.object for q in graph if q.predicate.value == Fo.onPage}
    assert pages == {q.subject for q in graph if q.predicate.value == Fo.path}
    assert len(pages) == 1


def test_a_page_of_facts_is_answered_by_distinct_things(
    warehouse: Warehouse, classifier: Classifier, project: str, shop: Shop
) -> None:
    events = [
        classifier.classify(
            shop.product(str(n), "paid", attributes={"$pathname": f"/orders/{n}", "n": str(n)})
        )
        for n in range(500)
    ]
    warehouse.insert([event._replace(seq=1, batch="sha256:00") for event in events])
    (row,) = read(Page(project, 0, 1, 500), lambda sql: warehouse.query(sql).rows)
    assert (row.place, row.events) == ("/orders/{id}", 500)


def test_the_gate_takes_what_is_joined_once(
    gate: PlayedGate, hire: Hire, traffic: Traffic, shop: Shop
) -> None:
    traffic.send(*shop.checkout("a"), *browsing(shop))
    steward = hire()
    first = steward.run_once()
    assert (first.state, first.set_aside) == ("proposed", ())
    assert [item["state"] for item in gate.made()] == ["applied"]
    again = [e._replace(event_id=f"{e.event_id}-2") for e in shop.checkout("c")]
    traffic.send(*again, *shop.checkout("d"))
    assert steward.run_once().state == "unchanged"


@pytest.mark.parametrize("kind", [Fo.ProductEventType, Fo.Feature, Fo.Page, Fo.ErrorIssue])
def test_a_flood_of_new_things_is_bounded_and_counted(
    gate: PlayedGate, hire: Hire, traffic: Traffic, shop: Shop, project: str, kind: str
) -> None:
    words = ("north", "east", "south", "west", "up")

    def made(word: str) -> Event:
        if kind == Fo.ErrorIssue:
            return shop.error(word, attributes={"error.issue": word})
        if kind == Fo.Page:
            return shop.product(word, "$pageview", attributes={"$pathname": f"/{word}"})
        if kind == Fo.Feature:
            return shop.product(word, "go", attributes={"feature": word})
        return shop.product(word, f"go {word}")

    steward = hire(limits=Limits(things=2))
    for word in words[:3]:
        traffic.send(made(word))
    traffic.send(*map(made, words))
    assert dict(steward.run_once().set_aside) == {TOO_MANY[kind]: 3}
    lineage = gate.lineage(project)
    assert lineage.count(f"<{kind}>") == 2
    # The earliest seen stay.
    assert words[0] in lineage
    assert words[1] in lineage
    traffic.send(made("down"))
    assert dict(steward.run_once().set_aside) == {TOO_MANY[kind]: 1}
