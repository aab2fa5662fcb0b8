"""Records of what the platform did on assets: to evidence without secrets, and to one fact each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import RdfFormat, parse

from ingest.asset_runs import events_of, output_of, payload_of, redacted_text
from ingest.classify import Classifier, rules_from_quads
from ingest.errors import PayloadUndecodable
from ingest.events import RUN_SOURCE, Event
from ingest.evidence import EvidenceBatch
from ontology.ids import Ids
from ontology.vocab import Fo
from runtime.run_record import RunRecord

IDS = Ids()
BEGAN = datetime(2026, 11, 28, 12, tzinfo=UTC)
BATCH = EvidenceBatch(7, "sha256:b", "shop", RUN_SOURCE, "", 1, 0, None)
RULES = (files("ontology") / "rules.ttl").read_bytes()
CLASSIFIER = Classifier(rules_from_quads(parse(RULES, RdfFormat.TURTLE)), IDS)
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "QUJD\n" * 3000


def record(kind: str = "run", outcome: str = "succeeded", **more: object) -> RunRecord:
    values: dict[str, object] = {
        "run": "20261128-1cb8bef4a2",
        "kind": kind,
        "about": "box",
        "subject": IDS.runtime_asset("box"),
        "principal": IDS.principal("operator"),
        "project": "shop",
        "environment": IDS.environment("production"),
        "began": BEGAN,
        "ended": BEGAN + timedelta(seconds=1.5),
        "outcome": outcome,
        "document": {"exit_code": 0, "stdout": {"size": 3, "truncated": False}, "reason": ""},
        "action": {"kind": "run", "argv": ["echo", "one two"]},
        "entry": 12,
        **more,
    }
    return RunRecord(**values)  # type: ignore[arg-type]


def fact(made: RunRecord) -> Event:
    (event,) = events_of(payload_of(made, CLASSIFIER.redacted_document), BATCH)
    assert isinstance(event, Event)
    return CLASSIFIER.classify(event)


def test_a_run_is_a_fact_about_its_asset() -> None:
    event = fact(record())
    assert (event.event_class, event.rule) == (Fo.RuntimeAsset, Fo.rule_asset_run)
    assert event.subject == IDS.runtime_asset("box")
    assert (event.kind, event.status, event.environment) == ("run", "ok", "production")
    assert event.duration_ns == 1_500_000_000
    assert event.attributes["run.action"] == '["echo", "one two"]'
    assert event.attributes["run.principal"] == IDS.principal("operator")
    assert event.attributes["result.exit_code"] == "0"
    assert event.attributes["result.stdout.size"] == "3"
    assert event.attributes["run.entry"] == "12"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("failed", "error"),
        ("unknown", "unset"),
        ("timed-out", "error"),
        ("running", "ok"),
        ("stopped", "error"),
    ],
)
def test_only_a_good_end_is_ok(outcome: str, status: str) -> None:
    assert fact(record(outcome=outcome)).status == status


def test_a_look_at_an_endpoint_is_about_the_endpoint() -> None:
    event = fact(record("endpoint-check", "ready", about="nexus", action={}))
    assert (event.event_class, event.rule) == (Fo.IntegrationEndpoint, Fo.rule_endpoint_check)
    assert event.subject == IDS.integration_endpoint("nexus")


SECRETS = (
    "token=abcdef0123456789",
    "password: hunter2hunter2",
    "jo@example.org",
    "fot_" + "a" * 43,
    "AKIA" + "A" * 16,
    "postgres://jo:geheim@db/x",
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "x\n{}\ny\n", "{} " * 900, "é" * 9000 + " {}\n"])
def test_secrets_are_taken_out_of_what_is_kept(secret: str, around: str) -> None:
    said = around.replace("{}", secret)
    payload = payload_of(
        record(stdout=said.encode(), stderr=said.encode()), CLASSIFIER.redacted_document
    )
    value = secret.rpartition("=")[2].rpartition(" ")[2]
    assert value not in "".join(output_of(payload))


@pytest.mark.parametrize("end", ["", "-----END OPENSSH PRIVATE KEY-----\n"])
def test_a_private_key_goes_whole(end: str) -> None:
    kept = redacted_text(f"before\n{KEY}{end}after", CLASSIFIER.redacted_document)
    assert "QUJD" not in kept
    assert kept.startswith("before\n")
    assert kept.endswith("after") == bool(end)


@given(st.text(alphabet="ab \n\té", max_size=300), st.integers(0, 9000))
def test_what_is_harmless_stays_as_it_is(text: str, times: int) -> None:
    said = text + "ab\n" * times
    assert redacted_text(said, CLASSIFIER.redacted_document) == said


def test_bytes_that_are_no_text_are_kept_as_text() -> None:
    payload = payload_of(record(stdout=b"\xff\x00a"), CLASSIFIER.redacted_document)
    assert output_of(payload) == ("\ufffd\x00a", "")


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"began": "x"}', b"[" * 100_000])
def test_what_is_no_record_is_set_aside(payload: bytes) -> None:
    with pytest.raises(PayloadUndecodable):
        list(events_of(payload, BATCH))
