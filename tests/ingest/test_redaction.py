"""What is taken out of events is a table, and so is what only looks like it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode, Quad

from ingest.attributes import REDACTED
from ingest.events import Event
from ingest.redaction import TEXTS, Redactor
from ingest.redaction_rules import (
    RULES_LEFT_OUT,
    RedactionRule,
    compiled,
    redaction_rules,
    shipped_rules,
)
from ontology.vocab import FO, Fo, Rdf

SHIPPED = Redactor(shipped_rules())
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
EVENT = Event(
    project="shop",
    source="otel.span",
    event_id="0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    time=0,
    duration_ns=0,
    name="GET /cart",
    kind="server",
    status="unset",
    service="shop-web",
    release="1.4.2",
    environment="staging",
    session="b2f8a1de-5f0b-4b0e-9c39-2d1a7c1f0a11",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="b7ad6b7169203331",
    parent_span_id="",
)


def event(kind: str = "server", **attributes: str) -> Event:
    return EVENT._replace(
        kind=kind,
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
    )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("to ann.smith+shop@mail.example.org, now", "to [redacted], now"),
        ("ann@example.org bob@example.org", "[redacted] [redacted]"),
        ("/u/ann%40example.org/cart", "/u/[redacted]/cart"),
        (
            "/a%20b/Bearer%20abc123def456?x=%2B49%20151%2023456789",
            "/a b/Bearer [redacted]?x=[redacted]",
        ),
        ("?card=4111+1111+1111+1111", "?card=[redacted]"),
        ("tags.4111111111111111", "tags.[redacted]"),
        ("tags.078-05-1120-ok", "tags.[redacted]-ok"),
        ("käthe@exämple.org", "[redacted]"),
        ("?mail=ann@example.org&a=1", "?mail=[redacted]&a=1"),
        ("paid with 4111111111111111.", "paid with [redacted]."),
        ("4111 1111 1111 1111", "[redacted]"),
        ("card=4111-1111-1111-1111;ok", "card=[redacted];ok"),
        ("5555555555554444,378282246310005", "[redacted],[redacted]"),
        ("amex 3782 822463 10005", "amex [redacted]"),
        ("paid-4111111111111111", "paid-[redacted]"),
        ("6011111111111117\t30569309025904", "[redacted]\t[redacted]"),
        ("2223003122003222", "[redacted]"),
        ("to DE89 3704 0044 0532 0130 00 and on", "to [redacted] and on"),
        ("DE89370400440532013000", "[redacted]"),
        ("de89370400440532013000", "[redacted]"),
        ("GB82 WEST 1234 5698 7654 32", "[redacted]"),
        (f"got {TOKEN}", "got [redacted]"),
        ("Authorization: Bearer abc123def456", "Authorization: Bearer [redacted]"),
        ("basic dXNlcjpwYXNz", "basic [redacted]"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("key AIzaSyA1234567890abcdefghijklmnopqrstuv", "key [redacted]"),
        ("ghp_" + "a1" * 18, "[redacted]"),
        ("github_pat_" + "a1" * 15, "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
        ("sk_live_" + "a1" * 12, "[redacted]"),
        ("foi_" + "a1" * 20, "[redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[redacted]"),
        ("postgresql://ann:s3cret@db/shop", "postgresql://[redacted]@db/shop"),
        ("redis://:p%40ss@cache:6379/0", "redis://[redacted]@cache:6379/0"),
        ("mysql://a:p@ss@db/x", "mysql://[redacted]@db/x"),
        ("Server=db;User Id=sa;Password=hunter2;", "Server=db;User Id=sa;Password=[redacted];"),
        ("/pay?token=abc&n=1", "/pay?token=[redacted]&n=1"),
        ("?X-Amz-Signature=0badcafe&x=1", "?X-Amz-Signature=[redacted]&x=1"),
        ('{"password": "hunter 2", "n": 1}', '{"password": "[redacted]", "n": 1}'),
        (
            "UPDATE u SET password = 'open sesame' WHERE id = 7",
            "UPDATE u SET password = '[redacted]' WHERE id = 7",
        ),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted]"),
        ("connect(password=a)b]c})", "connect(password=[redacted]"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[redacted]"),
        ("ssn 078-05-1120.", "ssn [redacted]."),
        ("call +49 151 23456789", "call [redacted]"),
        ("tel:+14155552671", "tel:[redacted]"),
        ("(+44 20 7946 0958)", "([redacted])"),
    ],
)
def test_taken_out(said: str, kept: str) -> None:
    assert SHIPPED.text(said) == kept
    assert SHIPPED.text(kept) == kept
    cleaned = SHIPPED.redact(event(note=said, tea="green"))
    assert cleaned.attributes == {"note": kept, "tea": "green"}


NEAR_MISSES = [
    "0af7651916cd43dd8448eb211c80319c",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "b7ad6b7169203331",
    "ce24707d5371d2954373de75597283280a3a80ddd",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "12345678-1234-1234-1234-123456789012",
    "41111111-1111-1111-1111-111111111111",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "order 1000234567890123",
    "order-4111111111111112",
    "4111111111111112",
    "1700000000000000000",
    "1700000000123",
    "0.4111111111111111",
    "/a%20b?x=100%25&y=%E2%82%AC",
    "41111111111111110",
    "GET /orders/{id}",
    "express@4.18.2",
    "shop-web@1.4.2",
    "@scope/package",
    "5 @ 3",
    "2026-11-28T05:27:58+00:00",
    "2026-11-28 05:27:58.123456+0200",
    "1.5e+100000000000",
    "bWFpbA+4930123456789013==",
    "+1234567",
    "10.0.0.7",
    "DE89370400440532013001",
    "de89f704b0440c32013000",
    "XX89370400440532013000",
    "000-12-3456",
    "666-12-3456",
    "2024-01-15",
    "123-45-67890",
    "basic authentication failed",
    "Bearer authentication required",
    "token expired",
    "max_tokens=100",
    "tokens: 12",
    "SELECT * FROM users WHERE token = $1 AND password = ?",
    "WHERE password = %s OR password = :password OR password = %(word)s",
    "https://shop.example/a:b/c@d",
    "https://shop.example:8080/cart",
    "-----BEGIN CERTIFICATE-----",
    "AKIA",
    "eyJ",
    "sku-1234-5678-9012",
    "v1.22.333.4444",
]


@pytest.mark.parametrize("said", NEAR_MISSES)
def test_not_mistaken(said: str) -> None:
    assert SHIPPED.text(said) == said
    unchanged = event(note=said)
    assert SHIPPED.redact(unchanged) is unchanged


@pytest.mark.parametrize(
    "key",
    [
        *("client.address", "client.socket.address", "http.client_ip", "net.sock.peer.addr"),
        *("net.peer.ip", "network.peer.address", "source.address", "clientIp", "remote_addr"),
        *("user.id", "user.email", "user.full_name", "enduser.id", "tags.user.id", "geo.locality"),
        *("user_agent.original", "http.user_agent", "userAgent"),
        *("http.request.header.x-forwarded-for", "http.request.header.x_real_ip"),
        *("http.request.header.user-agent", "db.password", "DB_PASSWORD", "clientSecret"),
        *("aws.secret_access_key", "x-api-key", "apiKey", "access_token", "cookie", "cardNumber"),
    ],
)
def test_attributes_that_go_whole(key: str) -> None:
    assert SHIPPED.redact(event(**{key: "anything"})).attributes == {key: REDACTED}


@pytest.mark.parametrize(
    "key",
    [
        *("server.address", "net.peer.name.x", "http.route", "db.statement", "session.id"),
        *("user_agent.name", "enduser", "users.count", "http.request.header.host", "secret.count"),
        *("service.instance.id", "k8s.secret.name", "telemetry.sdk.name", "client.id"),
    ],
)
def test_attributes_that_stay(key: str) -> None:
    unchanged = event(**{key: "anything"})
    assert SHIPPED.redact(unchanged) is unchanged


def test_the_peer_of_a_client_is_a_part_of_the_system() -> None:
    unchanged = event("client", **{"network.peer.address": "10.0.0.7", "net.peer.ip": "10.0.0.7"})
    assert SHIPPED.redact(unchanged) is unchanged


@pytest.mark.parametrize("column", TEXTS)
def test_columns_are_looked_at(column: str) -> None:
    said: dict[str, Any] = {column: "for ann@example.org"}
    kept: dict[str, Any] = {column: "for [redacted]"}
    assert SHIPPED.redact(EVENT._replace(**said)) == EVENT._replace(**kept)


def test_keys_are_looked_at_and_each_redaction_is_counted() -> None:
    SHIPPED.taken()
    said = event(**{"ann@example.org": "ann@example.org bob@example.org", "user.id": "17", "b": ""})
    changed = SHIPPED.redact(said)
    assert changed.attributes == {
        REDACTED: "[redacted] [redacted]",
        "user.id": REDACTED,
        "b": "",
    }
    assert SHIPPED.taken() == {
        ("shop", Fo.redact_mail_address): 3,
        ("shop", Fo.redact_person_attribute): 1,
    }
    assert SHIPPED.redact(changed) is changed
    assert not SHIPPED.taken()


def test_links_between_spans_are_no_numbers_of_cards() -> None:
    links = " ".join(["0af7651916cd43dd8448eb211c80319c-4111111111111111"] * 9)
    linked = event(**{"span.links": links, "note": "ann@example.org"})
    assert SHIPPED.redact(linked).attributes == {"span.links": links, "note": REDACTED}
    joined = event(**{"span.links": f"{links} 4111111111111111"})
    assert "4111111111111111" not in SHIPPED.redact(joined).attributes["span.links"].split()


@given(
    st.lists(st.sampled_from([near for near in NEAR_MISSES if "4111" not in near]), max_size=6),
    st.sampled_from([" ", "\n", ", "]),
    st.sampled_from(["ann@example.org", "4111111111111111", TOKEN, "+4915123456789"]),
    st.integers(0, 6),
)
def test_a_secret_is_found_between_whatever_stands_around_it(
    around: list[str], gap: str, secret: str, place: int
) -> None:
    parts = [*around[:place], secret, *around[place:]]
    attributes = {f"a{number}": part for number, part in enumerate(around)}
    changed = SHIPPED.redact(EVENT._replace(attributes=attributes | {"x": gap.join(parts)}))
    assert secret not in str(changed)


@given(st.text(max_size=300))
def test_any_text_is_taken_and_a_second_time_changes_nothing(said: str) -> None:
    once = SHIPPED.text(said)
    assert SHIPPED.text(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "@",
            "a@",
            "a@b.c",
            "4",
            "4111 ",
            "4111111111111111 ",
            "password=",
            "DE89 ",
            "eyJ.",
            "+1",
        ),
        *("://a:", "://a:b@", "-----BEGIN PRIVATE KEY-----", "\n", '\\"', "basic a1b2c3d4 "),
    ],
)
def test_time_follows_the_length(piece: str) -> None:
    started = time.perf_counter()
    SHIPPED.text(piece * (8192 // len(piece)))
    assert time.perf_counter() - started < 5


def test_each_shipped_rule_is_usable_and_they_come_in_order() -> None:
    rules = shipped_rules()
    declared = {value for name, value in vars(Fo).items() if name.startswith("redact_")}
    assert {rule.iri for rule in rules} == declared
    assert [rule.priority for rule in rules] == sorted((r.priority for r in rules), reverse=True)


def stated(**values: str) -> list[Quad]:
    rule = NamedNode(f"{FO}own")
    said = {"priority": "1", "replacement": "[gone]", **values}
    return [
        Quad(rule, NamedNode(Rdf.type), NamedNode(Fo.RedactionRule)),
        *(Quad(rule, NamedNode(FO + key), Literal(value)) for key, value in said.items() if value),
    ]


def test_a_graph_without_rules_has_the_shipped_ones() -> None:
    assert redaction_rules([]) == shipped_rules()
    own = redaction_rules(stated(valuePattern="ORD-([0-9]+)"))
    assert own == (RedactionRule(f"{FO}own", 1, "", "ORD-([0-9]+)", "", "[gone]"),)
    assert Redactor(own).text("ORD-17, ORD-18") == "ORD-[gone], ORD-[gone]"


def test_a_rule_may_concern_the_values_of_some_keys_only() -> None:
    rules = redaction_rules(stated(valuePattern="^[0-9]+$", keyPattern="order[.]number"))
    said = event(order__number="17", number="17", order__numbers="18")
    changed = Redactor(rules).redact(said)
    assert changed.attributes == {"order.number": "[gone]", "number": "17", "order.numbers": "18"}
    assert Redactor(rules).text("17") == "17"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"valuePattern": "("},
        {"valuePattern": "a*"},
        {"valuePattern": r"\Aa"},
        {"valuePattern": "(?-m)^a"},
        {"valuePattern": "(?=a)a"},
        {"valuePattern": "a" * 5000},
        {"keyPattern": "["},
        {"valuePattern": "a", "checkedBy": "magic"},
        {"valuePattern": "a", "replacement": ""},
        {"valuePattern": "a", "replacement": "a" * 65},
        {"valuePattern": "a", "replacement": "a\n"},
        {"valuePattern": "a", "priority": "high"},
    ],
)
def test_a_rule_that_cannot_be_used_is_left_out_and_counted(values: dict[str, str]) -> None:
    before = RULES_LEFT_OUT._value.get()
    assert redaction_rules(stated(**values)) == shipped_rules()
    assert RULES_LEFT_OUT._value.get() == before + 1


def test_an_escaped_backslash_is_no_end_of_the_text() -> None:
    assert compiled(r"C:\\Admin").search(rb"C:\Admin") is not None


@pytest.mark.parametrize(
    "event_id",
    [
        # The second half of each is a card's number, its check digit included.
        "7b83811bd099dfbc57bb09effc01bc21-5371068912484836",
        "2e55c22547fc4224b6463c16db813507-5528400262284296",
    ],
)
def test_ids_that_machines_make_stay_apart(event_id: str) -> None:
    event = EVENT._replace(event_id=event_id, name="paid with 5371068912484836")
    found = SHIPPED.redact(event)
    assert found.event_id == event_id
    assert found.name == "paid with [redacted]"


def test_a_number_that_is_called_an_id_is_no_machines() -> None:
    assert SHIPPED.redact(EVENT._replace(event_id="5371068912484836")).event_id == REDACTED
