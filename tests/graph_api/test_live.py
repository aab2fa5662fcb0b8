"""Live events over a real gate: in order, without gaps, and only for who may read them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.types import Message

from graph_api.auth import Authenticator
from graph_api.live import MOST_PER_PRINCIPAL, Live, build_router
from graph_api.problems import Problem, handle_problem
from proofs.submission import Request
from runtime.access import Access
from tests.proofs.conftest import Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]  # fixtures

PATIENCE = 20.0


@dataclass
class Listener:
    """A client that keeps what it is sent."""

    status: int = 0
    text: str = ""
    ended: bool = False
    stuck: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        if not self.text and not self.status:
            # The request has no body.
            self.status = -1
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self.stuck:
            await asyncio.Event().wait()
        self.text += message.get("body", b"").decode()
        self.ended = not message.get("more_body", False)
        self.news.set()

    @property
    def events(self) -> list[tuple[str | None, str, dict[str, Any]]]:
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "event" in lines:
                found.append((lines.get("id"), lines["event"], json.loads(lines["data"])))
        return found

    def ids(self) -> list[int]:
        return [int(number) for number, _, _ in self.events if number is not None]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self.news.wait()
                self.news.clear()


@dataclass
class Station:
    """The route over a gate, with tokens."""

    gate: Gate
    live: Live
    access: Access
    app: FastAPI

    def token(self, name: str, role: str) -> str:
        return self.access.issue(name, role, self.gate.ids.principal(name))[1]

    @asynccontextmanager
    async def listening(
        self, token: str, query: str = "", *, stuck: bool = False, last: str | None = None
    ) -> AsyncIterator[Listener]:
        listener = Listener(stuck=stuck)
        sent = {"authorization": f"Bearer {token}"}
        if last is not None:
            sent["last-event-id"] = last
        scope = {
            **{"type": "http", "method": "GET", "path": "/live", "raw_path": b"/live"},
            **{"query_string": query.encode(), "http_version": "1.1", "scheme": "http"},
            **{"headers": [(k.encode(), v.encode()) for k, v in sent.items()]},
            **{"asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": ""},
        }
        task = asyncio.ensure_future(self.app(scope, listener.receive, listener.send))
        try:
            if not stuck:
                await listener.until(lambda: bool(listener.text))
            yield listener
        finally:
            listener.gone.set()
            await asyncio.wait_for(task, PATIENCE)


@pytest.fixture
def station(gate: Gate) -> Iterator[Station]:
    access = Access(gate.folder / "access.sqlite", lambda: datetime.now(UTC), secrets.token_bytes)
    live = Live(gate.index, lambda: gate.ledger.governance, heartbeat=0.05, stalled=0.2)
    gate.ledger.on_commit(live.notify)
    app = FastAPI()
    app.add_exception_handler(Problem, handle_problem)
    app.include_router(build_router(live, Authenticator(access, lambda: gate.ledger.governance)))
    yield Station(gate, live, access, app)
    access.close()


def hold(gate: Gate, name: str) -> str:
    """A proposal that waits."""
    asked = gate.request(gate.service(name))
    request = Request(asked.additions, frozenset(), project="shop", rationale="r", hold="why")
    view = gate.ledger.submit(gate.steward, request)
    assert view is not None
    return view.id


def test_what_happens_is_told_in_order(station: Station) -> None:
    gate = station.gate

    async def run() -> None:
        async with station.listening(station.token("olga", "operator")) as listener:
            first = gate.ledger.head + 1
            for name in ("a", "b", "c"):
                await asyncio.to_thread(gate.propose, gate.service(name))
            await listener.until(lambda: len(listener.ids()) == 3)
            assert listener.ids() == [first, first + 1, first + 2]
            _, event, data = listener.events[0]
            assert event == "entry"
            assert (data["entry"], data["kind"], data["project"]) == (first, "applied", "shop")
            assert data["principal"] == gate.steward

    asyncio.run(run())


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_a_stream_goes_on_where_it_ended(station: Station, how: str) -> None:
    gate = station.gate
    for name in ("a", "b", "c"):
        gate.ledger.reject(gate.operator, hold(gate, name), "")
    head = gate.ledger.head
    token = station.token("olga", "operator")

    async def run() -> None:
        last = "1" if how == "header" else None
        query = "after=1" if how == "parameter" else ""
        async with station.listening(token, query, last=last) as listener:
            await listener.until(lambda: len(listener.ids()) == head - 1)
            assert listener.ids() == list(range(2, head + 1))
        # Somebody who is ahead, such as after a restore, gets what is to come.
        async with station.listening(token, last="999999") as listener:
            await asyncio.to_thread(gate.propose, gate.service("next"))
            await listener.until(lambda: bool(listener.ids()))
            assert listener.ids() == [head + 1]

    asyncio.run(run())


def test_more_than_a_page_is_told_whole(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph_api.live.PAGE", 2)
    gate = station.gate
    for name in ("a", "b", "c"):
        gate.propose(gate.service(name))

    async def run() -> None:
        token = station.token("olga", "operator")
        async with station.listening(token, last="0") as listener:
            await listener.until(lambda: len(listener.ids()) == gate.ledger.head)
            assert listener.ids() == list(range(1, gate.ledger.head + 1))

    asyncio.run(run())


def test_silence_is_filled_with_comments(station: Station) -> None:
    async def run() -> None:
        async with station.listening(station.token("olga", "operator")) as listener:
            await listener.until(lambda: listener.text.count(": heartbeat\n\n") >= 2)
            assert listener.events == []
            assert listener.text.startswith("retry: ")

    asyncio.run(run())


def test_what_waits_is_told_at_the_beginning(station: Station) -> None:
    waits = hold(station.gate, "held")

    async def run() -> None:
        async with station.listening(station.token("olga", "operator")) as listener:
            await listener.until(lambda: bool(listener.events))
            number, event, data = listener.events[0]
            assert (number, event, data["more"]) == (None, "reminder", False)
            assert [item["proposal"] for item in data["waiting"]] == [waits]

    asyncio.run(run())


def test_restricted_entries_are_for_their_readers(station: Station) -> None:
    gate = station.gate
    gate.name("ann", "analyst")
    first = gate.ledger.head
    gate.found_project("bank", restricted=True)
    gate.propose(gate.service("vault", "bank"), "lineage/bank", by=gate.operator)
    hidden = gate.ledger.head
    gate.propose(gate.service("cart"))

    async def run() -> None:
        for name, role, sees in (("olga", "operator", True), ("ann", "analyst", False)):
            token = station.token(name, role)
            async with station.listening(token, last=str(first)) as listener:
                await listener.until(lambda: gate.ledger.head in listener.ids())
                assert (hidden in listener.ids()) is sees
                assert ('"bank"' in listener.text) is sees

    asyncio.run(run())


def test_a_token_that_ends_ends_its_streams(station: Station) -> None:
    credential, token = station.access.issue("olga", "operator", station.gate.operator)

    async def run() -> None:
        async with station.listening(token) as listener:
            station.access.revoke(credential.id)
            await listener.until(lambda: listener.ended)
            _, event, data = listener.events[-1]
            assert (event, data["type"]) == ("end", "token-unknown")

    asyncio.run(run())


def test_no_more_streams_than_there_is_room_for(station: Station) -> None:
    token = station.token("olga", "operator")

    async def run() -> None:
        opened = [station.listening(token) for _ in range(MOST_PER_PRINCIPAL)]
        for each in opened:
            await each.__aenter__()
        async with station.listening(token) as refused:
            assert refused.status == 503
            assert "live-busy" in refused.text
        for each in opened:
            await each.__aexit__(None, None, None)
        async with station.listening(token) as listener:
            assert listener.status == 200

    asyncio.run(run())


def test_who_takes_nothing_is_let_go(station: Station) -> None:
    async def run() -> None:
        token = station.token("olga", "operator")
        async with station.listening(token, stuck=True):
            async with asyncio.timeout(PATIENCE):
                while not station.live._wakes:
                    await asyncio.sleep(0.01)
                while station.live._wakes:
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_server_that_stops_ends_its_streams(station: Station) -> None:
    async def run() -> None:
        async with station.listening(station.token("olga", "operator")) as listener:
            station.live.close()
            await listener.until(lambda: listener.ended)

    asyncio.run(run())


@pytest.mark.parametrize("last", ["x", "-1", "1" * 30, "²"])
def test_what_is_no_index_is_refused(station: Station, last: str) -> None:
    async def run() -> None:
        token = station.token("olga", "operator")
        async with station.listening(token, f"after={quote(last)}") as listener:
            assert listener.status == 400
            assert "parameter-invalid" in listener.text
        async with station.listening("fot_nobody") as listener:
            assert listener.status == 401

    asyncio.run(run())
