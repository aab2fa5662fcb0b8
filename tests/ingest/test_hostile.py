"""Hostile payloads of every source, all the way: decoded, classified, stored, read back.

The seeds are bodies of real clients (``golden``); what hypothesis makes of them is theirs, cut,
spliced and spoilt. What once did harm is kept in ``corpus/SOURCE`` and tried every time. A source
that has a decoder and no seed here fails the test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import NamedNode, RdfFormat, parse

from ingest.asset_runs import CONTENT_TYPE as RUN
from ingest.asset_runs import payload_of
from ingest.attributes import MAX_ATTRIBUTES, MAX_KEY, MAX_VALUE
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import BodyError, PayloadError
from ingest.events import (
    ERROR_SOURCE,
    LATEST_TIME,
    LINEAGE_SOURCE,
    LOG_SOURCE,
    METRIC_SOURCE,
    PRODUCT_SOURCE,
    RUN_SOURCE,
    SPAN_SOURCE,
    Event,
    Skipped,
)
from ingest.evidence import EvidenceBatch
from ingest.otlp import JSON, PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.sentry_envelope import ENVELOPE
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.library import rules_turtle
from tests.ingest.test_asset_runs import record

HERE = Path(__file__).parent
RECEIVED = 1_795_840_000 * 10**9
DECODERS = decoders(Pseudonyms(b"key"))
Seed = tuple[str, str, bytes]
"""Source, content type, payload."""

OTLP_JSON = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "0a" * 16,
                            "spanId": "0b" * 8,
                            "name": "GET /orders",
                            "kind": 2,
                            "startTimeUnixNano": "1795839990500000000",
                            "attributes": [
                                {"key": "http.request.method", "value": {"stringValue": "GET"}},
                                {"key": "http.route", "value": {"stringValue": "/orders"}},
                                {"key": "db.query.text", "value": {"stringValue": "SELECT ("}},
                            ],
                        }
                    ]
                }
            ],
        }
    ]
}


def seeds() -> Iterator[Seed]:
    golden = HERE / "golden"
    for place in sorted(golden.glob("posthog-*.jsonl")):
        for line in place.read_bytes().splitlines():
            yield PRODUCT_SOURCE, "application/json", line
    for text in (golden / "sentry-python.jsonl").read_text().splitlines():
        yield ERROR_SOURCE, ENVELOPE, json.loads(text).encode()
    for line in (golden / "openlineage-python.jsonl").read_bytes().splitlines():
        yield LINEAGE_SOURCE, "application/json", line
    for kind in ("run", "request", "endpoint-check"):
        yield RUN_SOURCE, RUN, payload_of(record(kind), lambda text: text)
    yield SPAN_SOURCE, JSON, json.dumps(OTLP_JSON).encode()
    for place in sorted((HERE.parent / "stewards" / "golden").glob("*.pb")):
        yield SPAN_SOURCE, PROTOBUF, place.read_bytes()[:20_000]
    for source, name in ((LOG_SOURCE, "logs"), (METRIC_SOURCE, "metrics")):
        yield source, JSON, (HERE / "corpus" / source / f"{name}.json").read_bytes()
        yield source, PROTOBUF, (HERE / "corpus" / source / f"{name}.bin").read_bytes()


SEEDS = tuple(seeds())

# What parsers, stores and terminals have stumbled over.
SPOILERS = (
    *(b"\x00", b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b"\xff\xfe", b"\\ufffe", b"\xc2\x9b31m"),
    *(b"1e400", b"-1", b"9" * 40, b"NaN", b"null", b"true", b"{}", b"[]", b'""', b"[" * 2000),
    *(b"../..", b'<>"{}|\\^`', b"%00", b"' OR 1=1 --", b"$", b"\n", b"\r\n\r\n", b"\x1b]0;x\x07"),
    *(b'"__proto__":{}', b"9999-12-31T23:59:60Z", b"-0001-01-01", b"\xf0\x9f\x92\xa9" * 50),
)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    quads = [quad for text in rules_turtle().values() for quad in parse(text, RdfFormat.TURTLE)]
    return Classifier(rules_from_quads(quads), Ids("http://test.localhost"))


def taken(seed: Seed, classifier: Classifier) -> list[Event]:
    """The events of a payload; none where it was refused as a whole, in one of the known ways."""
    source, content_type, payload = seed
    batch = EvidenceBatch(1, "sha256:b", "shop", source, content_type, len(payload), RECEIVED, None)
    try:
        items = list(DECODERS[source](payload, batch))
    except (PayloadError, BodyError):
        return []
    assert all(item.reason for item in items if isinstance(item, Skipped))
    return [classifier.classify(item) for item in items if isinstance(item, Event)]


def must_be_sound(event: Event) -> None:
    """Bounded, and text that every store and terminal can carry; a subject that is an IRI."""
    assert 0 <= event.time <= LATEST_TIME
    assert 0 <= event.duration_ns < 2**64
    assert event.event_id
    # The marker of what was dropped comes on top, and those of the resource stand among a span's.
    assert len(event.attributes) <= 2 * MAX_ATTRIBUTES + 2
    columns = (event.name, event.kind, event.status, event.service, event.release)
    for text in (*columns, event.environment, event.session, *event.attributes.values()):
        assert len(text) <= MAX_VALUE + 64
        text.encode()
        assert "\x00" not in text
        assert "\x1b" not in text
    assert all(0 < len(key) <= MAX_KEY + 64 for key in event.attributes)
    if event.subject:
        assert len(NamedNode(event.subject).value) < 2_000


@st.composite
def spoilt(draw: st.DrawFn) -> Seed:
    source, content_type, payload = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(payload)))
        end = place + draw(st.integers(0, 200))
        before, between, after = payload[:place], payload[place:end], payload[end:]
        payload = draw(
            st.sampled_from(
                (
                    before,
                    before + after,
                    before + between * 3 + after,
                    before + draw(st.sampled_from(SPOILERS)) + after,
                    before + draw(st.sampled_from(SPOILERS)) + between + after,
                    before + draw(st.binary(max_size=8)) + after,
                )
            )
        )
    return source, content_type, payload


@settings(max_examples=600)
@given(spoilt())
def test_what_is_left_of_a_spoilt_payload_is_sound(classifier: Classifier, seed: Seed) -> None:
    for event in taken(seed, classifier):
        must_be_sound(event)


def test_every_source_has_seeds() -> None:
    assert {source for source, _, _ in SEEDS} == DECODERS.keys()


ODD = "\x00\x1b[31m\u202e <>\"{}|\\^`%00'; DROP TABLE events -- \ud800"
# Made by the test that wants them: some are large.
EXTREMES: dict[str, Callable[[], Any]] = {
    "an attribute of 10 MB": lambda: {"a": "x" * 10_000_000},
    "a million keys": lambda: {f"key {number}": number for number in range(1_000_000)},
    "odd text": lambda: {ODD: ODD, "$current_url": f"https://shop.example/{ODD}"},
    "deep": lambda: {"a": json.loads("[" * 300 + "]" * 300)},
}
Values = dict[str, Any]


def _product(name: str, values: Values) -> Seed:
    event = {"event": name, "properties": values, "timestamp": "9999-12-31T23:59:59Z"}
    body = json.dumps({"batch": [event, {"event": "good"}]})
    return PRODUCT_SOURCE, "application/json", body.encode()


def _error(name: str, values: Values) -> Seed:
    tagged = {"message": name, "tags": values, "timestamp": 1e300, "level": "error"}
    lines = ["{}"]
    for document in (tagged, {"message": "good"}):
        text = json.dumps(document)
        lines += [json.dumps({"type": "event", "length": len(text.encode())}), text]
    return ERROR_SOURCE, ENVELOPE, "\n".join(lines).encode()


def _lineage(name: str, values: Values) -> Seed:
    tags = [{"key": key, "value": value} for key, value in islice(values.items(), 100_000)]
    facets = {"tags": {"tags": tags}, "errorMessage": {"message": str(values.get("a"))}}
    job = {"namespace": ODD[:50], "name": name * 40, "facets": values | facets}
    runs = [{"job": {"name": name}, "run": {"runId": name, "facets": facets}}, {"job": job}]
    return LINEAGE_SOURCE, "", json.dumps(runs).encode()


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("payload", [_product, _error, _lineage])
def test_extremes_are_stored_and_cost_their_neighbours_nothing(
    classifier: Classifier,
    warehouse: Warehouse,
    payload: Callable[[str, Values], Seed],
    name: str,
) -> None:
    events = taken(payload(name, EXTREMES[name]()), classifier)
    assert len(events) == 2
    for event in events:
        must_be_sound(event)
    warehouse.insert(events)
    assert warehouse.counts()["events"] == 2


@pytest.mark.parametrize(
    "place",
    sorted((HERE / "corpus").glob("*/*")),
    ids=lambda place: f"{place.parent.name}/{place.name}",
)
def test_what_once_did_harm_does_none(classifier: Classifier, place: Path) -> None:
    of_source = {content_type for source, content_type, _ in SEEDS if source == place.parent.name}
    assert of_source
    for content_type in of_source:
        for event in taken((place.parent.name, content_type, place.read_bytes()), classifier):
            must_be_sound(event)
