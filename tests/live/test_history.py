"""Files of other tools, taken in by the command on a real server."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brotli
import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from runtime.process_exec import Captured, capture

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

pytestmark = pytest.mark.live

COMMAND = (sys.executable, "-m", "graph_api.cli")
SECOND = "2023-11-14T22:13:20"
SECRETS = (b"ann@example.org", b"phc_theirs")

Ingest = Callable[..., Captured]


def product_event(number: int) -> dict[str, Any]:
    return {
        "uuid": f"01890000-0000-7000-8000-{number:012d}",
        "event": "order placed",
        "distinct_id": "ann@example.org",
        "timestamp": f"{SECOND}.{number:03d}Z",
        "properties": {"service": "shop-web", "token": "phc_theirs"},
        "person_properties": {"email": "ann@example.org"},
    }


def span_line(number: int) -> bytes:
    """A line of the Collector's file exporter."""
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "GET /cart",
        "kind": 2,
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
        "endTimeUnixNano": str(1_700_000_000_000_000_009 + number),
    }
    request = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}
    return json.dumps(request).encode() + b"\n"


def envelope(number: int) -> bytes:
    event = {
        "event_id": f"{number:032x}",
        "timestamp": f"{SECOND}Z",
        "exception": {"values": [{"type": "LookupError", "value": "no order"}]},
    }
    body = json.dumps(event, indent=1).encode()
    header = {
        "event_id": event["event_id"],
        "dsn": "https://phc_theirs@sentry.example/1",
        "sent_at": f"{SECOND}Z",
    }
    item = b'{"type":"event","length":%d}' % len(body)
    return b"\n".join((json.dumps(header).encode(), item, body, b""))


@pytest.fixture
def server(serve: Serve) -> Server:
    server = serve(None, "--steward-seconds", "0.2").start()
    server.post("/projects", {"slug": "shop"})
    return server


@pytest.fixture
def ingest(server: Server, tmp_path: Path, checkout: Path) -> Ingest:
    """Runs ``fractalops ingest --project shop`` with bookmarks of the test's own."""

    def run(*arguments: object, stdin: bytes = b"") -> Captured:
        return capture(
            [*COMMAND, "--data", server.data, "ingest", *map(str, arguments), "--project", "shop"],
            timeout=120,
            stdin=stdin,
            env={
                **dict.fromkeys(("FRACTALOPS_URL", "FRACTALOPS_TOKEN", "FRACTALOPS_DATA")),
                "XDG_STATE_HOME": str(tmp_path / "state"),
                "FRACTALOPS_OUTPUT": "json",
            },
            cwd=checkout,
        )

    return run


def test_every_format_becomes_facts_once(server: Server, ingest: Ingest, tmp_path: Path) -> None:
    lines = b"".join(map(span_line, range(1, 41)))
    (tmp_path / "spans.jsonl.zst").write_bytes(zstandard.compress(lines))
    events = [product_event(number) for number in range(30)]
    jsonl = b"".join(json.dumps(event).encode() + b"\n" for event in events[:10])
    (tmp_path / "events.jsonl.br").write_bytes(brotli.compress(jsonl))
    (tmp_path / "events.json").write_text(json.dumps(events[8:20], indent=2))
    table = [{**event, "properties": json.dumps(event["properties"])} for event in events[15:]]
    parquet.write_table(
        pyarrow.Table.from_pylist(table), tmp_path / "events.parquet", row_group_size=4
    )
    errors = b"".join(map(envelope, range(1, 6)))
    (tmp_path / "errors.gz").write_bytes(gzip.compress(errors))
    names = ("spans.jsonl.zst", "events.jsonl.br", "events.json", "events.parquet", "errors.gz")
    files = [tmp_path / name for name in names]

    found = json.loads(ingest(*files).checked().stdout)
    assert [row["taken_in"] for row in found] == [40, 10, 12, 15, 5]
    assert [row["layout"] for row in found] == [
        "lines",
        "lines",
        "documents",
        "parquet",
        "envelopes",
    ]
    server.settle()
    counted = "SELECT source, count(), min(time), max(time) FROM events GROUP BY source ORDER BY 1"
    facts = server.facts(counted)
    assert [row[:2] for row in facts] == [
        ["otel.span", 40],
        ["posthog.event", 30],
        ["sentry.event", 5],
    ]
    assert all(str(row[at]).startswith(SECOND) for row in facts for at in (2, 3)), facts

    # Run again, each goes on behind its end; from the start, all of it is the same facts.
    again = json.loads(ingest(*files).checked().stdout)
    assert [(row["taken_in"], row["before"]) for row in again] == [
        (0, 40),
        (0, 10),
        (0, 12),
        (0, 15),
        (0, 5),
    ]
    repeated = json.loads(ingest(*files, "--restart").checked().stdout)
    assert [row["taken_in"] for row in repeated] == [40, 10, 12, 15, 5]
    server.settle()
    assert server.facts(counted) == facts
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or not any(secret in path.read_bytes() for secret in SECRETS)


def test_a_bad_line_is_named_and_takes_no_other_with_it(
    server: Server, ingest: Ingest, tmp_path: Path
) -> None:
    lines = [span_line(number) for number in range(1, 8)]
    # JSON that is no OTLP, so that only the server can tell; and no JSON at all.
    lines[2] = b'{"resourceSpans":[{"scopeSpans":7}]}\n'
    lines[4] = lines[4][:40] + b"\n"
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b"".join(lines))
    ended = ingest(file)
    assert ended.returncode == 1
    said = ended.stderr.decode()
    assert f"{file}:3: the server refuses it" in said
    assert f"{file}:5: it is not JSON" in said
    with file.open("ab") as more:
        more.write(span_line(100))
    (row,) = json.loads(ingest(file).checked().stdout)
    assert (row["taken_in"], row["before"]) == (1, 7)
    piped = ingest("-", stdin=b"".join(map(span_line, range(200, 210))))
    assert json.loads(piped.checked().stdout)[0]["taken_in"] == 10
    server.settle()
    assert server.facts("SELECT count() FROM events") == [[16]]
