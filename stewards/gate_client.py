"""A steward's client of the platform: the same HTTP API, and the same door, as everyone's.

Invariant: every answer that is not a success becomes a typed error of :mod:`stewards.errors` with
the title and detail of its problem document. Only "busy" is retried, within bounds: a proposal
whose answer got lost isn't sent again blindly, the next cycle reads what became of it.
Specifications: https://www.rfc-editor.org/rfc/rfc9457 , https://www.w3.org/TR/sparql11-protocol/
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from pyoxigraph import (
    BlankNode,
    Literal,
    NamedNode,
    QueryResultsFormat,
    QuerySolutions,
    Triple,
    parse_query_results,
)

from stewards.errors import GateBusy, GateUnreachable, UnexpectedAnswer, refusal
from stewards.signer import ProposalSigner

Json = dict[str, Any]
Term = NamedNode | Literal | BlankNode | Triple

SPARQL_RESULTS_JSON = "application/sparql-results+json"
ATTEMPTS = 4
LONGEST_WAIT = 30.0
"""Seconds a steward waits at once, whatever ``Retry-After`` says."""
USUAL_WAIT = 1.0
TIMEOUT = httpx.Timeout(120.0, connect=5.0)


@dataclass(frozen=True)
class Facts:
    """An answer of ``/facts``; ``truncated`` when the server kept rows back."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool


@dataclass(frozen=True)
class Progress:
    """``head`` is the newest entry of the log; up to the batch ``cursor`` the facts are whole, and
    ``pending`` batches are still to become facts."""

    head: int
    cursor: int
    pending: int


Solution = Mapping[str, Term]


class GateClient:
    """Speaks to one platform as one principal; a context manager.

    ``http`` has the base URL and the bearer token; :meth:`connect` makes one. ``sleep`` is called
    between retries, by whichever thread asks; any may. ``signer`` signs what is proposed.
    """

    def __init__(
        self,
        http: httpx.Client,
        sleep: Callable[[float], object] = time.sleep,
        signer: ProposalSigner | None = None,
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._signer = signer

    @classmethod
    def connect(
        cls,
        url: str,
        token: str,
        sleep: Callable[[float], object] = time.sleep,
        signer: ProposalSigner | None = None,
    ) -> GateClient:
        """A client of the platform at ``url`` (no trailing slash) with this bearer token."""
        http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "User-Agent": "fractalops-steward"},
            timeout=TIMEOUT,
            # A redirect or a proxy could carry the token elsewhere.
            follow_redirects=False,
            trust_env=False,
            # Plain HTTP has no certificates to verify, and the trusted ones take time to read.
            verify=not url.startswith("http://"),
        )
        return cls(http, sleep, signer)

    def __enter__(self) -> GateClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- reading

    def facts(self, sql: str, *, trusted: bool = False) -> Facts:
        """The rows of one read-only SQL query over the warehouse, or over what trusted senders
        sent of it."""
        answer = self._send(
            "POST",
            "/facts",
            params={"trusted": "true"} if trusted else {},
            content=sql.encode(),
            headers={"Content-Type": "application/sql", "Accept": "application/json"},
        )
        body = _object(answer)
        try:
            return Facts(
                tuple(map(str, body["columns"])),
                tuple(tuple(row) for row in body["rows"]),
                bool(body["truncated"]),
            )
        except (KeyError, TypeError) as error:
            raise _unexpected(answer, f"no columns, rows and truncated ({error!r})") from error

    def trusted_facts(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        """As :meth:`all_facts`, of what trusted senders sent."""
        return self.all_facts(sql, trusted=True)

    def all_facts(
        self, sql: str, page: int = 5_000, *, trusted: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """Every row of a query that has a total order, however few the server gives at once."""
        rows: list[tuple[Any, ...]] = []
        while True:
            answer = self.facts(f"{sql} LIMIT {page:d} OFFSET {len(rows):d}", trusted=trusted)
            rows.extend(answer.rows)
            if not answer.rows or (len(answer.rows) < page and not answer.truncated):
                return tuple(rows)

    def progress(self) -> Progress:
        """How far the log and the facts have come."""
        answer = self._send("GET", "/status")
        body = _object(answer)
        try:
            return Progress(
                int(body["head"]), int(body["facts"]["cursor"]), int(body["inbox"]["pending"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _unexpected(
                answer, f"no head, facts.cursor and inbox.pending ({error!r})"
            ) from error

    def query(self, sparql: str, min_head: int | None = None) -> tuple[Solution, ...]:
        """The solutions of a SPARQL SELECT, read from the graph at ``min_head`` or later."""
        answer = self._send(
            "POST",
            "/sparql",
            params={} if min_head is None else {"min_head": min_head},
            content=sparql.encode(),
            headers={"Content-Type": "application/sparql-query", "Accept": SPARQL_RESULTS_JSON},
        )
        try:
            results = parse_query_results(answer.content, format=QueryResultsFormat.JSON)
        except (SyntaxError, ValueError) as error:
            raise _unexpected(answer, f"no SPARQL results in JSON ({error})") from error
        if not isinstance(results, QuerySolutions):
            raise _unexpected(answer, "a boolean where solutions were asked for")
        names = [variable.value for variable in results.variables]
        return tuple(
            {name: term for name in names if (term := solution[name]) is not None}
            for solution in results
        )

    def log(self) -> str:
        """The label of the log's key, for which a signature is given."""
        answer = self._send("GET", "/status")
        try:
            return str(_object(answer)["log_key"]["name"])
        except (KeyError, TypeError) as error:
            raise _unexpected(answer, f"no log_key.name ({error!r})") from error

    def signing_keys(self, steward: str) -> frozenset[str]:
        """The labels of the keys that this steward may sign with now."""
        answer = self._send("GET", f"/stewards/{quote(steward, safe='')}/keys")
        try:
            return frozenset(
                str(item["name"]) for item in _object(answer)["items"] if item["active"]
            )
        except (KeyError, TypeError) as error:
            raise _unexpected(answer, f"no items with name and active ({error!r})") from error

    # --- proposing

    def propose(
        self,
        project: str,
        rationale: str,
        additions_nquads: str,
        removals_nquads: str,
        evidence: Sequence[str],
        base: int | None,
        hold: str = "",
    ) -> Json:
        """Submit a delta; the proposal, or ``{"id": None, "state": "unchanged", ...}``. With a
        ``hold``, which says why, a person decides on it."""
        signature = self._signer and self._signer.sign(
            project, rationale, additions_nquads, removals_nquads, evidence, base, hold
        )
        body = {
            "project": project,
            "rationale": rationale,
            "additions": additions_nquads,
            "removals": removals_nquads,
            "evidence": list(evidence),
            "base": base,
            **({"hold": hold} if hold else {}),
            **({"signature": signature} if signature else {}),
        }
        return _object(self._send("POST", "/proposals", json=body))

    def proposals(self, *, state: str, project: str) -> Iterator[Json]:
        """The project's proposals in this state, newest first, page by page."""
        before: str | None = None
        while True:
            parameters = {"state": state, "project": project, "limit": "100"}
            if before is not None:
                parameters["before"] = before
            answer = self._send("GET", "/proposals", params=parameters)
            body = _object(answer)
            items = body.get("items")
            if not isinstance(items, list):
                raise _unexpected(answer, "no list of items")
            yield from items
            following = body.get("next")
            if following is None or not items:
                return
            before = str(following)

    def state_of(self, proposal: str) -> str:
        """The state that a proposal is in."""
        answer = self._send("GET", f"/proposals/{quote(proposal, safe='')}")
        state = _object(answer).get("state")
        if not isinstance(state, str):
            raise _unexpected(answer, "no state")
        return state

    def withdraw(self, proposal: str, reason: str) -> None:
        """Take a proposal back that waits for a decision."""
        self._send(
            "POST",
            f"/proposals/{quote(proposal, safe='')}/decisions",
            json={"outcome": "withdraw", "reason": reason},
        )

    def diff(self, proposal: str) -> tuple[str, str]:
        """The N-Quads that a proposal adds, and those that it removes."""
        answer = self._send(
            "GET",
            f"/proposals/{quote(proposal, safe='')}/diff",
            headers={"Accept": "application/json"},
        )
        body = _object(answer)
        additions, removals = body.get("additions"), body.get("removals")
        if not isinstance(additions, str) or not isinstance(removals, str):
            raise _unexpected(answer, "no additions and removals")
        return additions, removals

    # --- one request

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                raise GateUnreachable(
                    f"{method} {path}: no answer from {self._http.base_url}"
                    f" ({type(error).__name__}: {error})"
                ) from error
            if answer.is_success:
                return answer
            error_ = refusal(answer.status_code, _problem(answer), _retry_after(answer))
            if not isinstance(error_, GateBusy) or attempt == ATTEMPTS:
                raise error_
            wait = error_.retry_after
            self._sleep(min(USUAL_WAIT * attempt if wait is None else wait, LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")


def _object(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError as error:
        raise _unexpected(answer, f"no JSON ({error})") from error
    if not isinstance(body, dict):
        raise _unexpected(answer, "JSON that is no object")
    return body


def _problem(answer: httpx.Response) -> Json:
    """The problem document of an error answer; a plain one where a proxy wrote something else."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    return {"title": answer.reason_phrase or "Error", "detail": answer.text[:200]}


def _unexpected(answer: httpx.Response, what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"{answer.request.method} {answer.request.url.path} answered {answer.status_code} with"
        f" {what}: is there another service at {answer.request.url.host}?"
    )


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds; a date, or nonsense, counts as not said."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None
