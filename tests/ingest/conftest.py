"""Fixtures of the ingest floor: real engines on temporary folders, payloads as SDKs send them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingest.events import Event
from ingest.inbox import Inbox
from ingest.warehouse import Warehouse
from tests.ingest.stand_in import StandIn, standing_in

START = 1_700_000_000_000_000_000

Payload = Callable[..., bytes]


@pytest.fixture
def payload() -> Payload:
    """Builds a protobuf payload of ``count`` spans; numbers from ``first`` make their ids."""

    def build(
        count: int = 1,
        *,
        first: int = 1,
        service: str = "shop-web",
        attributes: dict[str, str] | None = None,
        name: str = "GET /cart",
        kind: int = Span.SPAN_KIND_SERVER,
    ) -> bytes:
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.append(
            KeyValue(key="service.name", value=AnyValue(string_value=service))
        )
        spans = resource_spans.scope_spans.add().spans
        for number in range(first, first + count):
            spans.append(
                Span(
                    trace_id=number.to_bytes(16),
                    span_id=number.to_bytes(8),
                    name=name,
                    kind=kind,  # type: ignore[arg-type]
                    start_time_unix_nano=START + number,
                    end_time_unix_nano=START + number + 5,
                    attributes=[
                        KeyValue(key=key, value=AnyValue(string_value=value))
                        for key, value in (attributes or {}).items()
                    ],
                )
            )
        return request.SerializeToString()

    return build


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    box = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail)
    yield box
    box.close()


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    house = Warehouse(tmp_path / "facts")
    yield house
    house.close()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """Stands in for a server that is not to be had here."""
    with standing_in() as found:
        yield found


@pytest.fixture
def an_event() -> Callable[..., Event]:
    """Makes an event that differs from the usual one in what is given."""
    usual = Event(
        project="shop",
        source="otel.span",
        event_id="0",
        time=START,
        duration_ns=5,
        name="GET /cart",
        kind="server",
        status="ok",
        service="web",
        release="1",
        environment="prod",
        session="",
        trace_id="t",
        span_id="s",
        parent_span_id="",
        attributes={"http.route": "/cart"},
        seq=1,
        batch="sha256:a",
    )
    return lambda **given: usual._replace(**given)
