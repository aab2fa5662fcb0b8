"""What OpenLineage's clients report becomes events: golden bodies, tables, and hostile input.

The bodies in ``golden/openlineage-python.jsonl`` are what openlineage-python sent to a sink, one a
line. ``openlineage-events.json`` is what they become; write it again with
``UPDATE_GOLDEN=1 pytest tests/ingest/test_openlineage.py`` and read the difference.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import openlineage
from ingest.attributes import MAX_VALUE
from ingest.errors import BodyError, PayloadError
from ingest.events import LATEST_TIME, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.openlineage import TEMPORARY, TOO_MANY_COLUMNS, TOO_MANY_DATASETS, events_of
from ingest.openlineage_request import MAX_EVENTS, MAX_NAME, parse, refusal_of

SECOND = 10**9
RECEIVED = 1_795_840_000 * SECOND
GOLDEN = Path(__file__).parent / "golden"
RUN = "0197a000-0000-7000-8000-000000000001"
JOB = {"namespace": "airflow", "name": "daily"}
DATABASE = "postgres://db.shop:5432"
TABLE = {"namespace": DATABASE, "name": "shop.public.orders"}
SECRETS = ("Ann Smith", "ann@example.org", "s3cret")


def batch() -> EvidenceBatch:
    return EvidenceBatch(
        7, "sha256:b", "shop", "openlineage.event", "application/json", 1, RECEIVED, None
    )


def run(state: str | None = "COMPLETE", **members: Any) -> dict[str, Any]:
    """An event of a run, as small as it may be."""
    said = {"eventTime": "2026-11-22T12:00:00Z", "run": {"runId": RUN}, "job": JOB, **members}
    return said if state is None else {"eventType": state, **said}


def items(*said: Any) -> list[Event | Skipped]:
    return list(events_of(json.dumps(list(said)).encode(), batch()))


def events(*said: Any) -> list[Event]:
    return [item for item in items(*said) if isinstance(item, Event)]


def skipped(*said: Any) -> list[str]:
    return [item.reason for item in items(*said) if isinstance(item, Skipped)]


def columns(**fields: Any) -> dict[str, Any]:
    """An output whose columns are made so."""
    return {**TABLE, "facets": {"columnLineage": {"fields": fields}}}


def test_the_golden_bodies() -> None:
    bodies = (GOLDEN / "openlineage-python.jsonl").read_text().splitlines()
    every = [item for body in bodies for item in events_of(body.encode(), batch())]
    found = [item._asdict() if isinstance(item, Event) else asdict(item) for item in every]
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    golden = GOLDEN / "openlineage-events.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize(
    ("state", "status"),
    [("START", ""), ("RUNNING", ""), ("COMPLETE", "ok"), ("FAIL", "error"), ("abort", "error"),
     ("OTHER", ""), (None, ""), ("so so", "")],
)  # fmt: skip
def test_the_state_of_a_run_is_its_status(state: str | None, status: str) -> None:
    (event,) = events(run(state))
    assert (event.kind, event.status, event.name, event.service) == ("run", status, "daily", "")


def keys(*said: Any) -> set[str]:
    return {event.event_id for event in events(*said)}


def test_a_run_says_each_state_once_but_that_it_goes_on() -> None:
    later = "2026-11-22T12:00:01Z"
    for state in ("START", "COMPLETE", "FAIL", "ABORT"):
        assert keys(run(state), run(state, eventTime=later)) == {f"{RUN}-{state}"}
    for state in ("RUNNING", "OTHER"):
        assert len(keys(run(state), run(state), run(state, eventTime=later))) == 2
    # Without a time, what is said tells one from the next.
    assert len(keys(run("RUNNING", eventTime=None), run("RUNNING", eventTime=None, inputs=[]))) == 2
    assert keys(run("START", run={"runId": RUN.upper()})) == {f"{RUN}-START"}


def test_a_run_id_that_is_none_is_one_of_its_job() -> None:
    other = {"namespace": "airflow", "name": "other"}
    one = run(run={"runId": "1"})
    assert len(keys(one, run(run={"runId": "1"}, job=other))) == 2
    assert keys(one) == keys(one)


def test_what_a_run_says_twice_of_a_dataset_is_one_event_for_each_state() -> None:
    said = run("START", inputs=[TABLE, TABLE]), run("COMPLETE", inputs=[TABLE])
    assert len([key for key in keys(*said) if "-input-" in key]) == 2


@pytest.mark.parametrize(
    ("item", "reason", "kind"),
    [
        (17, "not-an-object", ""),
        ({}, "no-dataset-name", ""),
        ({"dataset": {"namespace": DATABASE}}, "no-dataset-name", ""),
        ({"dataset": {"namespace": DATABASE, "name": "x" * (MAX_NAME + 1)}}, "no-dataset-name", ""),
        ({"job": {"name": ""}}, "no-job-name", ""),
        ({"job": "daily", "run": {"runId": RUN}}, "no-job-name", ""),
        ({"job": JOB, "run": {}}, "no-run-id", ""),
        ({"job": JOB, "run": {"runId": 17}}, "no-run-id", ""),
        (run(), "", "run"),
        ({"job": JOB}, "", "job"),
        ({"dataset": TABLE}, "", "dataset"),
    ],
)
def test_what_is_an_event(item: Any, reason: str, kind: str) -> None:
    assert refusal_of(item) == reason
    assert skipped(item, run()) == [reason] * bool(reason)
    assert [event.kind for event in events(item)] == ([] if reason else [kind])


def test_a_malformed_dataset_takes_no_neighbour_with_it() -> None:
    temporary = {"namespace": "inmemory://", "name": "t"}
    said = run(
        inputs=[17, {"namespace": 1, "name": "x"}, None, TABLE, temporary],
        outputs={"no": "list"},
    )
    assert [event.kind for event in events(said)] == ["run", "input"]
    assert skipped(said) == ["no-dataset-name"] * 3 + [TEMPORARY]
    made = columns(
        a={"inputFields": [{**TABLE, "field": "x"}, {**TABLE}, 17, {**TABLE, "field": 1}]},
        b={"inputFields": "x"},
        c=17,
        **{"": {"inputFields": [{**TABLE, "field": "x"}]}},
    )
    assert [event.name for event in events(run(outputs=[made]))] == [
        "daily",
        "shop.public.orders",
        "a",
    ]


def test_of_symlinks_the_table_wins_also_in_column_lineage() -> None:
    table = {"namespace": "hive://h:10000", "name": "sales.revenue"}
    place = {"namespace": "s3://lake", "name": "sales/revenue"}
    links = {"symlinks": {"identifiers": [17, {**table, "type": "table"}]}}
    said = run(
        inputs=[{**place, "facets": links}],
        outputs=[columns(a={"inputFields": [{**place, "field": "x"}]})],
    )
    _, read, _, pair = events(said)
    assert (read.attributes["dataset.name"], read.name) == ("sales.revenue", "sales.revenue")
    assert json.loads(read.attributes["dataset.aliases"]) == [["s3://lake", "sales/revenue"]]
    assert pair.attributes["source.namespace"] == "hive://h:10000"
    # A link to a place is another name, and no better one.
    other = {"symlinks": {"identifiers": [{**place, "type": "LOCATION"}]}}
    (_, kept) = events(run(inputs=[{**table, "facets": other}]))
    assert kept.attributes["dataset.name"] == "sales.revenue"
    assert json.loads(kept.attributes["dataset.aliases"]) == [["s3://lake", "sales/revenue"]]


@pytest.mark.parametrize(
    ("transformations", "influence"),
    [
        (None, "direct"),
        ([], "direct"),
        ([{"type": "DIRECT"}], "direct"),
        ([{"type": "INDIRECT", "subtype": "FILTER"}], "indirect"),
        ([{"type": "INDIRECT"}, {"type": "DIRECT"}], "direct"),
        ("x", "direct"),
    ],
)
def test_how_a_column_is_made(transformations: Any, influence: str) -> None:
    source = {**TABLE, "field": "x", "transformations": transformations}
    *_, pair = events(run(outputs=[columns(a={"inputFields": [source]})]))
    assert pair.attributes["lineage.influence"] == influence


def test_names_hold_no_credentials_and_no_addresses() -> None:
    said = run(
        job={"namespace": "airflow", "name": "mail to ann@example.org"},
        inputs=[
            {"namespace": "postgres://me:s3cret@db.shop?password=s3cret", "name": "a.b.c"},
            {"namespace": "abfss://lake@acme.dfs.core.windows.net", "name": "ann@example.org/x"},
        ],
    )
    text = repr(events(said))
    assert [secret for secret in SECRETS if secret in text] == []
    assert "abfss://lake@acme.dfs.core.windows.net" in text


def test_a_clock_that_is_ahead_is_not_believed() -> None:
    for said in ("2999-01-01T00:00:00Z", "1066-01-01T00:00:00Z", "yesterday", None, 17):
        (event,) = events(run(eventTime=said))
        assert event.time in (RECEIVED, 17_000_000), said


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openlineage, "MAX_DATASETS", 2)
    monkeypatch.setattr(openlineage, "MAX_COLUMN_PAIRS", 3)
    many = [{"namespace": DATABASE, "name": f"shop.t{number}"} for number in range(5)]
    assert skipped(run(inputs=many, outputs=many)) == [TOO_MANY_DATASETS] * 6
    sources = [{**TABLE, "field": str(number)} for number in range(5)]
    made = columns(a={"inputFields": sources})
    assert skipped(run(outputs=[made])) == [TOO_MANY_COLUMNS] * 2


def test_a_hundred_thousand_datasets() -> None:
    many = [{"namespace": DATABASE, "name": f"shop.t{number}"} for number in range(100_000)]
    said = items(run(inputs=many))
    assert len(said) == 100_001
    assert sum(isinstance(item, Event) for item in said) == openlineage.MAX_DATASETS + 1


def test_a_body_of_too_many_events_is_refused() -> None:
    with pytest.raises(BodyError, match="split it"):
        parse(b"[" + b"{}," * MAX_EVENTS + b"{}]")
    for body in (b"17", b"nothing", b"[" * 500 + b"]" * 500, b""):
        with pytest.raises(PayloadError):
            parse(body)


KEYS = st.sampled_from(
    ["run", "runId", "job", "namespace", "name", "inputs", "outputs", "facets", "inputFacets",
     "columnLineage", "fields", "inputFields", "field", "transformations", "type", "symlinks",
     "identifiers", "schema", "parent", "root", "ownership", "owners", "tags", "key", "value",
     "errorMessage", "message", "sql", "query", "eventTime", "eventType", "dataset",
     "dataQualityAssertions", "assertions", "success", "jobType"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from([DATABASE, "s3://\ud800", "file", "TABLE", RUN, "COMPLETE", "\x00", ".", ".."]),
)
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=40,
)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
@settings(max_examples=200, deadline=None)
def test_whatever_the_facets_are_the_neighbours_stay(
    facets: Any, inputs: Any, outputs: Any, other: Any
) -> None:
    entry = {**TABLE, "facets": facets, "inputFacets": other, "outputFacets": other}
    said = run(
        inputs=[entry, inputs],
        outputs=[entry, outputs, {**TABLE, "facets": {"columnLineage": other}}],
        job={**JOB, "facets": facets},
        run={"runId": RUN, "facets": other},
    )
    found = items(other, said, run("START", inputs=inputs, outputs=outputs), said)
    whole = [item for item in found if isinstance(item, Event)]
    assert {f"{RUN}-COMPLETE", f"{RUN}-START"} <= {event.event_id for event in whole}
    assert [event.kind for event in whole].count("input") >= 2
    for event in whole:
        assert 0 <= event.time <= LATEST_TIME
        for value in (event.event_id, event.name, event.environment, *event.attributes.values()):
            value.encode()
            assert "\x00" not in value
        assert all(len(value) <= MAX_VALUE + 64 for value in event.attributes.values())
    assert found == items(other, said, run("START", inputs=inputs, outputs=outputs), said)


@given(st.binary(max_size=200))
def test_any_bytes(payload: bytes) -> None:
    with suppress(PayloadError, BodyError):
        list(events_of(payload, batch()))
