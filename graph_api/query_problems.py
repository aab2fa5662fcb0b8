"""Puts into words why a reading was not answered.

Invariant: every way a query can fail has one problem type, and its detail says what the caller can
change about the query, or when to ask again.
Specification: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Mapping

from graph_api.negotiate import not_acceptable
from graph_api.problems import Problem
from graph_api.query_messages import Reply
from graph_api.query_process import Cause


def busy(what: str) -> Problem:
    return Problem(
        503,
        "busy",
        "The server is busy",
        f"{what} Ask again in a moment.",
        headers={"Retry-After": "1"},
    )


def no_head(head: int, newest: int) -> Problem:
    return Problem(
        404,
        "head-unknown",
        "There is no such head",
        f"The newest head that can be read is {newest}, and {head} did not come while this waited.",
        extra={"head": newest},
    )


def lost(cause: Cause, seconds: float, most_seconds: float, memory: int) -> Problem:
    """What the end of a worker means to the caller of its task; ``memory`` is bytes."""
    if cause == "time":
        more = (
            f", or give it more time with timeout= (up to {most_seconds:g} seconds)"
            if seconds < most_seconds
            else ""
        )
        return Problem(
            503,
            "query-timeout",
            "The query took too long",
            f"It was ended after {seconds:g} seconds. Narrow it, with a LIMIT or a more selective"
            f" pattern{more}.",
            extra={"seconds": seconds},
        )
    if cause == "memory":
        size = memory // (1024 * 1024)
        return Problem(
            503,
            "query-memory",
            "The query wanted too much memory",
            f"It wanted more than {size} MiB. Sort, group or join fewer rows at once.",
            extra={"mebibytes": size},
        )
    if cause == "depth":
        return Problem(
            400,
            "query-too-deep",
            "The query is nested too deeply",
            "The engine ran out of stack on it. Flatten its groups, paths or expressions.",
        )
    if cause == "network":
        return _service_refused({})
    return Problem(
        500,
        "query-crashed",
        "The query brought its worker down",
        "Others are not affected. This is a fault of the server; please report the query.",
    )


def refused(reply: Reply, result_bytes: int) -> Problem:
    """A worker's refusal in words."""
    details = reply.details()
    kind = details.pop("kind")
    place = {name: details[name] for name in ("line", "column") if details.get(name) is not None}
    where = f"line {place['line']}, column {place['column']}: " if len(place) == 2 else ""
    message = str(details.get("message", ""))
    if kind == "syntax":
        return Problem(
            400, "query-syntax", "The query does not parse", where + message, extra=place
        )
    if kind == "update":
        return update_refused(where + message, place)
    if kind == "service":
        return _service_refused(place, where)
    if kind == "function":
        return Problem(
            400,
            "function-unknown",
            "There is no such function",
            f"<{details['iri']}> is none of SPARQL's own functions, which are all there are here."
            " Compute it on your side, from what a query without it gives.",
            extra={"function": details["iri"]},
        )
    if kind == "not-acceptable":
        return not_acceptable(details["offered"])
    if kind == "result-too-large":
        return Problem(
            422,
            "result-too-large",
            "The result is too large",
            f"It would be more than {result_bytes} bytes. Ask for it in parts, with ORDER BY, LIMIT"
            " and OFFSET, or for fewer columns.",
            extra={"limit": result_bytes},
        )
    if kind == "hidden":
        return Problem(
            403,
            "graph-restricted",
            "This graph is restricted",
            f"<{details['graph']}> is read by operators, auditors and principals of its project.",
            extra={"graph": details["graph"]},
        )
    if kind == "bad-graph":
        return Problem(400, "graph-invalid", "That is no graph's IRI", message)
    if kind == "not-found":
        return Problem(
            404,
            "not-found",
            "There is nothing of that name",
            f"The graph you may read knows no <{details['iri']}> at this head.",
        )
    if kind == "memory":
        return Problem(
            503, "query-memory", "The query wanted too much memory", "Ask for less at once."
        )
    status = 503 if kind == "snapshot" or details.get("disk") else 500
    return Problem(
        status,
        "query-failed",
        "The query could not be answered",
        f"{message}. Ask again; if it stays so, an operator finds more in the log.",
    )


def update_refused(message: str, extra: Mapping[str, object] | None = None) -> Problem:
    """The answer to an update: where changes go instead."""
    return Problem(
        403,
        "updates-go-through-proposals",
        "Updates go through proposals",
        f"{message}. Send the same text, as INSERT DATA and DELETE DATA, with Content-Type"
        " application/sparql-update to POST /proposals?project=SLUG&rationale=TEXT.",
        extra={"proposals": "/proposals", **(extra or {})},
    )


def _service_refused(extra: Mapping[str, object], where: str = "") -> Problem:
    return Problem(
        400,
        "service-refused",
        "SERVICE is refused",
        f"{where}queries here have no network. Ask the other endpoint itself, and join its answer"
        " on your side.",
        extra=extra,
    )
