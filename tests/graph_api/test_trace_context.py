"""What is asked of others on behalf of a request belongs to the request's trace."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from graph_api.trace_context import TraceContext
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient
from runtime.http_messages import Ask
from runtime.http_trace import CURRENT
from tests.runtime.http_server import misbehaving

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
Headers = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("headers", "trace", "state"),
    [
        ([("traceparent", PARENT)], "a" * 32, None),
        (
            [("traceparent", PARENT), ("tracestate", "x=1"), ("tracestate", "y=2")],
            "a" * 32,
            "x=1,y=2",
        ),
        ([("traceparent", "00-nonsense")], None, None),
        ([("traceparent", PARENT), ("traceparent", PARENT)], None, None),
        ([("tracestate", "x=1")], None, None),
        ([], None, None),
    ],
)
def test_a_request_on_behalf_of_another_is_of_its_trace(
    headers: Headers, trace: str | None, state: str | None
) -> None:
    with misbehaving() as behind, HttpClient() as client:

        def ask(request: Request) -> PlainTextResponse:
            """In a thread, as all that may wait."""
            client.send(Ask("GET", PeerUrl.parse(behind.url)))
            return PlainTextResponse("asked")

        app = TraceContext(Starlette(routes=[Route("/", ask)]))

        async def run() -> None:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
                assert (await caller.get("/", headers=headers)).status_code == 200
                assert CURRENT.get() is None

        asyncio.run(run())
    (asked,) = behind.asked
    version, found, span, flags = asked.headers["traceparent"].split("-")
    assert (found == "a" * 32, flags) == (trace is not None, "01" if trace else "00")
    assert (version, len(span)) == ("00", 16)
    assert span != "b" * 16
    assert asked.headers.get("tracestate") == state
