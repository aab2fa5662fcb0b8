"""An order as somebody is shown it who decides on it: what would be carried out, on what, by which
rule.

Invariant: all of it is told, and exactly: each argument is one text of JSON on a line of its own,
so that none runs into the next one, and what isn't visible or is made of markup is escaped. Nothing
is cut, for orders are small, and the part that is left away may be the one that matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from graph_api.harmless import harmless, harmless_json
from proofs.orders import MAX_ORDER, MAX_RESULT
from proofs.proposal import ProposalView


def ordered(view: ProposalView) -> dict[str, Any] | None:
    """The order, and what came of it; ``None`` for a change of the graph."""
    order = view.order
    if order is None:
        return None
    return {
        "asset": harmless(order["asset_id"], MAX_ORDER),
        "iri": harmless(order["asset"], MAX_ORDER),
        "roles": [harmless(role, MAX_ORDER) for role in order["roles"]],
        "target": harmless(order["target"], MAX_ORDER) or None,
        "effect": order["effect"],
        "rule": _rule(order["rule"]),
        "person": harmless(order["person"], MAX_ORDER) or None,
        "action": [{"part": part, "text": text} for part, text in _parts(order["action"])],
        "result": [
            {"part": harmless(name, MAX_RESULT), "text": harmless_json(value)}
            for name, value in (view.result or {}).items()
        ],
    }


def _parts(action: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "kind", harmless_json(action["kind"])
    for number, argument in enumerate(action.get("argv", ())):
        yield f"argument {number}" if number else "program", harmless_json(argument)
    for name, value in action.items():
        if name not in ("kind", "argv"):
            yield harmless(name, MAX_ORDER), harmless_json(value)


def _rule(text: str) -> str:
    """A pattern begins with JSON, and reads best as that; what follows is its effect."""
    try:
        pattern, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return harmless(text, MAX_ORDER)
    return harmless_json(pattern) + harmless(text[end:], MAX_ORDER)
