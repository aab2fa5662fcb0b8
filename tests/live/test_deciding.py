"""Deciding on a running platform: the card of what a steward found, live events across a restart,
and the facts of all that happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, RunCommand, Server, Serving

pytestmark = pytest.mark.live

QUERIES = sorted((Path(__file__).parents[2] / "docs" / "operations").glob("*.sql"))


@pytest.fixture(scope="module")
def server(serving_in: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("deciding")) as serve:
        yield serve(None, "--steward-seconds", "600").start()


@pytest.fixture(scope="module")
def waiting(server: Server, make_spans: MakeSpans) -> dict[str, Any]:
    """What the steward proposes of a page's spans, which waits for a person."""
    key = server.post("/projects", {"slug": "shop"})["browser_key"]
    server.send(key, make_spans("deciding", 3))
    server.settle()
    server.post("/stewards/steward-shop/run")
    (found,) = server.get("/proposals", state="awaiting decision")["items"]
    return dict(found)


class Stream:
    """Reads events as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"].startswith("text/event-stream")
        self._lines = answer.iter_lines()

    def event(self) -> tuple[int | None, str, dict[str, Any]]:
        """The next one: id, name, data."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line and "event" in found:
                number = found.get("id")
                return (
                    None if number is None else int(number),
                    found["event"],
                    json.loads(found["data"]),
                )
            name, _, value = line.partition(": ")
            found[name] = value
        raise AssertionError("the stream ended")

    def entry(self) -> tuple[int, dict[str, Any]]:
        """The next entry of the log."""
        while True:
            number, name, data = self.event()
            if name == "entry":
                assert number is not None
                return number, data

    def drain(self) -> None:
        for _ in self._lines:
            pass


@contextmanager
def listening(
    server: Server, last: int | None = None, token: str | None = None
) -> Iterator[Stream]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with server.client(token) as client, client.stream("GET", "/live", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        yield Stream(answer)


def test_the_card_of_what_only_a_page_has_shown(
    server: Server, waiting: dict[str, Any], command: RunCommand
) -> None:
    card = server.get(f"/proposals/{waiting['id']}/card")
    assert card["proposal"]["id"] == waiting["id"]
    assert card["decision"]["needs"] == "operator decision"
    assert card["decision"]["you_may"]["approve"] is True
    evidence = card["evidence"]
    assert (evidence["facts"], evidence["trusted"], evidence["unknown"]) == (3, 0, 0)
    assert evidence["batches"][0]["payload_sha256"]
    assert evidence["rules"]
    # What a steward says of spans that it read follows from them, and needs nobody's word.
    assert card["claims"]["verified"] >= 6
    assert '"web" is a Service' in {
        row["text"] for row in card["changes"]["words"] if row["claim"] == "verified"
    }
    answers = {answer["name"]: answer for answer in card["queries"]["answers"]}
    assert ["Service", "web"] in answers["what-is-there"]["gained"]
    assert server.select("SELECT ?s { ?s a <https://w3id.org/fractalops/ns#Service> }") == []

    shown = command("proposals", "show", waiting["id"], "--data", server.data)
    assert shown.code == 0, shown.text
    for part in ("in words", '"web" is a Service', "verified", "as it would be", "saved queries"):
        assert part in shown.text


def test_a_stream_goes_on_after_a_restart(server: Server, waiting: dict[str, Any]) -> None:
    with listening(server) as stream:
        # Somebody who has just come is told what waits.
        _, name, data = stream.event()
        assert name == "reminder"
        assert [item["proposal"] for item in data["waiting"]] == [waiting["id"]]
        server.propose("shop", turtle(server, "first"))
        last, data = stream.entry()
        assert (data["kind"], data["project"]) == ("applied", "shop")
        assert last == server.head
        assert server.stop() == 0
        # It ended as a stream should, and was not cut off.
        stream.drain()
    server.start()
    server.propose("shop", turtle(server, "second"))
    server.propose("shop", turtle(server, "third"))
    with listening(server, last) as stream:
        assert [stream.entry()[0] for _ in range(2)] == [last + 1, last + 2]


def test_what_was_decided_is_a_fact(server: Server, waiting: dict[str, Any]) -> None:
    address = f"/proposals/{waiting['id']}/decisions"
    with server.client() as client:
        assert client.post(address, json={"outcome": "request-changes"}).status_code == 400
    asked = {"outcome": "request-changes", "reason": "only the storefront, please"}
    assert server.post(address, asked)["state"] == "changes requested"
    # The steward doesn't insist.
    server.post("/stewards/steward-shop/run")
    assert server.get("/proposals", state="awaiting decision")["items"] == []
    server.settle()
    sql = (
        f"SELECT kind, state FROM lifecycle WHERE subject = '{waiting['id']}' ORDER BY entry, step"
    )
    assert server.facts(sql) == [
        ["proposal", "submitted"],
        ["proposal", "valid"],
        ["proposal", "awaiting decision"],
        ["proposal", "changes requested"],
        ["decision", "request changes"],
    ]
    sweeps = "SELECT state, proposals FROM lifecycle WHERE kind = 'sweep' AND length(proposals) > 0"
    assert server.facts(sweeps) == [["proposed", [waiting["id"]]]]


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_the_questions_of_operators_are_answered(
    server: Server, waiting: dict[str, Any], path: Path
) -> None:
    with server.client() as client:
        answer = client.post(
            "/facts", content=path.read_text(), headers={"Content-Type": "application/sql"}
        )
    assert answer.is_success, answer.text
    if path.name[:3] in ("l03", "l04", "l08", "l10"):
        assert answer.json()["rows"]


def turtle(server: Server, name: str) -> str:
    ids = server.ids
    return (
        f"<{ids.service('shop', name)}> a <https://w3id.org/fractalops/ns#Service> ;"
        f' <http://www.w3.org/2000/01/rdf-schema#label> "{name}" ;'
        f" <https://w3id.org/fractalops/ns#inProject> <{ids.project('shop')}> ."
    )
