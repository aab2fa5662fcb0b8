"""A steward's client of the platform: the same HTTP API, and the same door, as everyone's.

Invariant: a proposal whose answer got lost isn't sent again blindly, the next cycle reads what
became of it. What goes wrong is told as :mod:`stewards.exchange` does.
Specification: https://www.w3.org/TR/sparql11-protocol/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

from pyoxigraph import (
    BlankNode,
    Literal,
    NamedNode,
    QueryResultsFormat,
    QuerySolutions,
    Triple,
    parse_query_results,
)

from stewards.exchange import Exchange, Json, object_in, unexpected
from stewards.signer import ProposalSigner

Term = NamedNode | Literal | BlankNode | Triple

SPARQL_RESULTS_JSON = "application/sparql-results+json"


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

    :meth:`connect` makes one; any thread may ask. ``signer`` signs what is proposed.
    """

    def __init__(self, exchange: Exchange, signer: ProposalSigner | None = None) -> None:
        self._exchange = exchange
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
        return cls(Exchange(url, token, sleep), signer)

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
        self._exchange.close()

    # --- reading

    def facts(self, sql: str, *, trusted: bool = False) -> Facts:
        """The rows of one read-only SQL query over the warehouse, or over what trusted senders
        sent of it."""
        answer = self._exchange.send(
            "POST",
            "/facts",
            params={"trusted": "true"} if trusted else {},
            content=sql.encode(),
            headers={"Content-Type": "application/sql", "Accept": "application/json"},
        )
        body = object_in(answer)
        try:
            return Facts(
                tuple(map(str, body["columns"])),
                tuple(tuple(row) for row in body["rows"]),
                bool(body["truncated"]),
            )
        except (KeyError, TypeError) as error:
            raise unexpected(answer, f"no columns, rows and truncated ({error!r})") from error

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
        answer = self._exchange.send("GET", "/facts/progress")
        body = object_in(answer)
        try:
            return Progress(int(body["head"]), int(body["cursor"]), int(body["pending"]))
        except (KeyError, TypeError, ValueError) as error:
            raise unexpected(answer, f"no head, cursor and pending ({error!r})") from error

    def query(self, sparql: str, min_head: int | None = None) -> tuple[Solution, ...]:
        """The solutions of a SPARQL SELECT, read from the graph at ``min_head`` or later."""
        answer = self._exchange.send(
            "POST",
            "/sparql",
            params={} if min_head is None else {"min_head": min_head},
            content=sparql.encode(),
            headers={"Content-Type": "application/sparql-query", "Accept": SPARQL_RESULTS_JSON},
        )
        try:
            results = parse_query_results(answer.content, format=QueryResultsFormat.JSON)
        except (SyntaxError, ValueError) as error:
            raise unexpected(answer, f"no SPARQL results in JSON ({error})") from error
        if not isinstance(results, QuerySolutions):
            raise unexpected(answer, "a boolean where solutions were asked for")
        names = [variable.value for variable in results.variables]
        return tuple(
            {name: term for name in names if (term := solution[name]) is not None}
            for solution in results
        )

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
        return object_in(self._exchange.send("POST", "/proposals", json=body))

    def proposals(self, *, state: str, project: str) -> Iterator[Json]:
        """The project's proposals in this state, newest first, page by page."""
        before: str | None = None
        while True:
            parameters = {"state": state, "project": project, "limit": "100"}
            if before is not None:
                parameters["before"] = before
            answer = self._exchange.send("GET", "/proposals", params=parameters)
            body = object_in(answer)
            items = body.get("items")
            if not isinstance(items, list):
                raise unexpected(answer, "no list of items")
            yield from items
            following = body.get("next")
            if following is None or not items:
                return
            before = str(following)

    def state_of(self, proposal: str) -> str:
        """The state that a proposal is in."""
        answer = self._exchange.send("GET", f"/proposals/{quote(proposal, safe='')}")
        state = object_in(answer).get("state")
        if not isinstance(state, str):
            raise unexpected(answer, "no state")
        return state

    def withdraw(self, proposal: str, reason: str) -> None:
        """Take a proposal back that waits for a decision."""
        self._exchange.send(
            "POST",
            f"/proposals/{quote(proposal, safe='')}/decisions",
            json={"outcome": "withdraw", "reason": reason},
        )

    def diff(self, proposal: str) -> tuple[str, str]:
        """The N-Quads that a proposal adds, and those that it removes."""
        answer = self._exchange.send(
            "GET",
            f"/proposals/{quote(proposal, safe='')}/diff",
            headers={"Accept": "application/json"},
        )
        body = object_in(answer)
        additions, removals = body.get("additions"), body.get("removals")
        if not isinstance(additions, str) or not isinstance(removals, str):
            raise unexpected(answer, "no additions and removals")
        return additions, removals
