"""Orders among the proposals over HTTP: which are listed, what they say, and deciding on them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from graph_api.auth import Authenticator
from graph_api.decision_card import DecisionCards
from graph_api.problems import Problem, handle_problem
from graph_api.proposals import build_router
from proofs.orders import Result
from runtime.access import Access
from tests.proofs.conftest import (
    Gate,
    controlled,
    controlled_folder,
    founded,
    order_on,
    signer,
)

__all__ = ["controlled", "controlled_folder", "founded", "signer"]  # fixtures

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(controlled: Gate) -> Iterator[Ask]:
    """A request to the routes, by an operator unless another role is said."""
    gate = controlled
    access = Access(gate.folder / "access.sqlite", lambda: datetime.now(UTC), secrets.token_bytes)
    app = FastAPI()
    app.add_exception_handler(Problem, handle_problem)
    app.include_router(
        build_router(
            gate.ledger,
            Authenticator(access, lambda: gate.ledger.governance),
            gate.ids,
            gate.store,
            body_limit=1_000_000,
            published=lambda: 0,
            committed=lambda principal, head: None,
            proposals=gate.index.proposals,
            cards=cast(DecisionCards, None),
        )
    )
    tokens = {
        "operator": access.issue("olga", "operator", gate.operator)[1],
        "analyst": access.issue("ann", "analyst", gate.name("ann", "analyst"))[1],
    }

    def send(method: str, path: str, role: str = "operator", **named: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            headers = {"Authorization": f"Bearer {tokens[role]}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://gate", headers=headers
            ) as client:
                return await client.request(method, path, **named)

        return asyncio.run(answer())

    yield send
    access.close()


def test_the_list_leaves_out_what_only_reads(controlled: Gate, ask: Ask) -> None:
    ids = controlled.ids
    read = controlled.ledger.order(controlled.steward, order_on(ids, "uptime"), begin=True)
    controlled.ledger.finish(read.id, Result({"exit_code": 0}))
    change = controlled.ledger.order(
        controlled.steward, order_on(ids, "reboot", effect="changes"), project="shop"
    )

    def listed(**query: str) -> list[str]:
        return [item["id"] for item in ask("GET", "/proposals", params=query).json()["items"]]

    assert read.id not in listed()
    assert listed()[0] == change.id
    assert listed(orders="all")[:2] == [change.id, read.id]
    assert listed(orders="all", state="executed") == [read.id]
    assert ask("GET", "/proposals", params={"orders": "none"}).status_code == 422
    assert ask("GET", "/proposals", params={"state": "executing"}).json()["items"] == []


def test_an_order_shows_itself_and_its_outcome(controlled: Gate, ask: Ask) -> None:
    view = controlled.ledger.order(
        controlled.steward, order_on(controlled.ids, "uptime"), begin=True
    )
    begun = ask("GET", f"/proposals/{view.id}").json()
    assert begun["order"] == view.order
    assert (begun["state"], begun["result"]) == ("executing", None)
    controlled.ledger.finish(view.id, Result({"exit_code": 0}))
    done = ask("GET", f"/proposals/{view.id}").json()
    assert (done["state"], done["result"]) == ("executed", {"exit_code": 0})
    assert done["proof"] == controlled.ledger.head
    empty = ask("GET", f"/proposals/{view.id}/diff", headers={"Accept": "application/json"})
    assert empty.json() == {"additions": "", "removals": ""}
    assert ask("GET", f"/proposals/{view.id}/report").status_code == 404


def test_one_of_a_restricted_project_is_hidden_from_others(controlled: Gate, ask: Ask) -> None:
    gate = controlled
    gate.found_project("secret", restricted=True)
    order = order_on(gate.ids, "reboot", effect="changes")
    view = gate.ledger.order(gate.operator, order, project="secret")
    assert ask("GET", f"/proposals/{view.id}").status_code == 200
    for part in ("", "/card", "/diff"):
        hidden = ask("GET", f"/proposals/{view.id}{part}", role="analyst")
        assert hidden.status_code == 404
    items = ask("GET", "/proposals", role="analyst", params={"orders": "all"}).json()["items"]
    assert view.id not in {item["id"] for item in items}


def test_a_person_decides_on_it_like_on_any_other(controlled: Gate, ask: Ask) -> None:
    order = order_on(controlled.ids, "reboot", effect="changes")
    view = controlled.ledger.order(controlled.steward, order)
    decided = ask(
        "POST", f"/proposals/{view.id}/decisions", json={"outcome": "approve", "reason": "due"}
    ).json()
    assert (decided["state"], decided["order"]) == ("approved", view.order)
    again = ask("POST", f"/proposals/{view.id}/decisions", json={"outcome": "approve"})
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (409, "wrong-state")
    mine = controlled.ledger.order(controlled.operator, order)
    refused = ask("POST", f"/proposals/{mine.id}/decisions", json={"outcome": "approve"})
    assert refused.status_code == 403


def test_what_is_no_longer_valid_is_told_with_its_report(controlled: Gate, ask: Ask) -> None:
    gate = controlled
    order = order_on(gate.ids, "reboot", effect="changes")
    view = gate.ledger.order(gate.steward, order)
    role = f'<{gate.ids.runtime_asset("web-1")}> fo:assetRole "web" .'
    gate.take_back(role, "assets", by=gate.operator)
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 1
    refused = ask("POST", f"/proposals/{view.id}/decisions", json={"outcome": "approve"})
    assert refused.status_code == 422
    assert "holds no control grant on web-1" in refused.json()["detail"]
    assert refused.json()["state"] == "invalid"
