"""Prints a decision card: what a proposal says, what bears it out, and what it would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph_api.cli_output import Output, column, show, show_facts, show_line, show_rows
from graph_api.cli_terms import short_iri, short_principal

CHANGE_COLUMNS = (column("change"), column("claim"), column("text"), column("graph"))
BATCH_COLUMNS = (
    column("batch", "digest"),
    column("source"),
    column("received", "received_at"),
    column("size"),
    column("payload", "payload_sha256"),
    column("erased"),
)
SAMPLE_COLUMNS = (
    column("time"),
    column("source"),
    column("class", short=short_iri),
    column("name"),
    column("service"),
    column("release"),
    column("environment"),
    column("trusted"),
)
PART_COLUMNS = (column("part"), column("text"))
RULE_COLUMNS = (
    column("rule", short=short_iri),
    column("class", short=short_iri),
    column("facts"),
)
_Json = Mapping[str, Any]


def show_card(card: _Json) -> None:
    """Print the parts of a card below the proposal itself, as tables."""
    _decision(card.get("decision") or {})
    _order(card.get("order") or {})
    changes = card.get("changes") or {}
    rows = changes.get("words") or []
    if rows:
        show("\nin words")
        show_rows(rows, CHANGE_COLUMNS, Output.TABLE)
        _more(changes.get("omitted"), "more statements, in the diff")
    _conflicts(card.get("conflicts") or ())
    _evidence(card.get("evidence") or {}, card.get("claims"))
    _after(card.get("after") or {})
    _queries(card.get("queries") or {})


def _decision(decision: _Json) -> None:
    if not decision.get("waits"):
        return
    show("\ndecision")
    may = [name for name, allowed in (decision.get("you_may") or {}).items() if allowed]
    others = [short_principal(iri) for iri in decision.get("others_who_may_approve") or ()]
    facts = {
        "needs": decision.get("needs"),
        "because": decision.get("because"),
        "you may": may or "nothing but look",
        "others who may approve": others or "nobody",
        "approved by": [short_principal(iri) for iri in decision.get("approved_by") or ()] or None,
        "approvals missing": decision.get("approvals_missing"),
        "expires at": decision.get("expires_at"),
        "time lock until": decision.get("time_lock_until"),
    }
    found = {name: value for name, value in facts.items() if value is not None}
    show_facts(found, Output.TABLE, whole=decision)


def _order(order: _Json) -> None:
    if not order:
        return
    show("\norder")
    facts = {
        "on asset": order.get("asset"),
        "iri": order.get("iri"),
        "roles": order.get("roles") or None,
        "where": order.get("target"),
        "effect": order.get("effect"),
        "fits the rule": order.get("rule"),
        "a person decides because": order.get("person"),
    }
    found = {name: value for name, value in facts.items() if value is not None}
    show_facts(found, Output.TABLE, whole=order)
    for title, member in (("to be carried out", "action"), ("what came of it", "result")):
        rows = order.get(member) or []
        if rows:
            show(f"\n{title}")
            show_rows(rows, PART_COLUMNS, Output.TABLE)


def _conflicts(conflicts: Sequence[_Json]) -> None:
    if conflicts:
        show("\nconflicts between sources, of what it is about")
    for conflict in conflicts:
        show_line(f"  {conflict.get('label')}")


def _evidence(evidence: _Json, claims: _Json | None) -> None:
    show("\nevidence")
    facts = {
        "batches cited": evidence.get("cited"),
        "of them not known here": evidence.get("unknown") or None,
        "facts": evidence.get("facts"),
        "facts of trusted senders": evidence.get("trusted"),
        "could not be read": evidence.get("unread"),
        **{f"claims {name}": count for name, count in sorted((claims or {}).items())},
    }
    found = {name: value for name, value in facts.items() if value is not None}
    show_facts(found, Output.TABLE, whole=evidence)
    for title, member, columns in (
        ("batches", "batches", BATCH_COLUMNS),
        ("sample facts", "samples", SAMPLE_COLUMNS),
        ("rules that classified them", "rules", RULE_COLUMNS),
    ):
        rows = evidence.get(member) or []
        if rows:
            show(f"\n{title}")
            show_rows(rows, columns, Output.TABLE)


def _after(after: _Json) -> None:
    things: Sequence[_Json] = after.get("things") or []
    if things:
        show("\nas it would be")
    for thing in things:
        show_line(f"{thing.get('name')} {short_iri(str(thing.get('iri')))}")
        for mark, member in (("+", "new"), (" ", "stands")):
            for sentence in thing.get(member) or ():
                show_line(f"  {mark} {sentence}")
        _more(thing.get("omitted"), "more statements", "  ")
    _more(after.get("omitted") if things else 0, "more things")


def _queries(queries: _Json) -> None:
    answers: Sequence[_Json] = queries.get("answers") or []
    if not answers:
        return
    show("\nsaved queries, before and after")
    for answer in answers:
        numbers = f"{answer.get('rows_before')} rows before, {answer.get('rows_after')} after"
        show_line(f"{answer.get('question')} {numbers}")
        for mark, member in (("+", "gained"), ("-", "lost")):
            for row in answer.get(member) or ():
                show_line(f"  {mark} {' | '.join(map(str, row))}")
        _more(answer.get("omitted"), "more rows that differ", "  ")
        if not answer.get("complete", True):
            show_line("  not all rows were compared")


def _more(count: object, what: str, indent: str = "") -> None:
    if isinstance(count, int) and count > 0:
        show_line(f"{indent}{count} {what}")
