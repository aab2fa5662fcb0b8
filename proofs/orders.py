"""What is to be carried out on a thing that the graph knows, and what came of it: two documents.

Invariant: a document has one spelling, canonical JSON, so the digest that a log entry commits to
is that of exactly this. Both are bounded and kept for ever: an order that looks like it holds a
secret is refused, and what an outcome says that looks like one is left out, for an outcome is never
lost over its wording.
Specification: https://www.rfc-editor.org/rfc/rfc8785 (canonical JSON)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proofs.errors import BadSubmission, MalformedStatement
from proofs.predicate import MAX_LISTED_EVIDENCE, Members, commit_evidence
from proofs.secret_text import holds_secret
from proofs.statement import canonical_json

ORDER_TYPE: Final = "application/vnd.fractalops.order+json"
MAX_ORDER: Final = 32 * 1024
"""Bytes of an order: a person who decides on it reads all of it."""
MAX_RESULT: Final = 16 * 1024
"""Bytes of an outcome, which has digests and sizes of what came out, and none of it itself."""
LEFT_OUT: Final = "left out: it looks like a secret"

READS: Final = "reads"
CHANGES: Final = "changes"
Effect = Literal["reads", "changes"]

_ACTIONS: Mapping[str, tuple[str, ...]] = {"run": ("argv",), "request": ("method", "path")}
"""The kinds of action, with what each has to say; it may say more."""
_MEMBERS = {"asset", "asset_id", "roles", "action", "effect", "rule", "person", "target"}


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be carried out once it may be.

    ``asset`` is the IRI of the thing and ``roles`` are those that it has; ``action`` is a JSON
    object whose ``kind`` is ``run``, with ``argv``, or ``request``, with ``method`` and ``path``;
    ``rule`` is the permitted action that it fits, as a person can read it, ``person`` why a person
    has to decide whatever grants say, empty where grants may. ``target`` is where it leads by the
    graph as it was when this was ordered: an address, or the locators of a machine.
    """

    asset: str
    asset_id: str
    roles: tuple[str, ...]
    action: Mapping[str, Any]
    effect: Effect
    rule: str
    person: str = ""
    target: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The document as JSON members, all of them always there."""
        return {
            "asset": self.asset,
            "asset_id": self.asset_id,
            "roles": list(self.roles),
            "action": dict(self.action),
            "effect": self.effect,
            "rule": self.rule,
            "person": self.person,
            "target": self.target,
        }

    def to_bytes(self) -> bytes:
        """The document. Raises :class:`MalformedStatement` where it has no canonical form."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes) -> Order:
        return cls.from_dict(json.loads(data))

    @classmethod
    def from_dict(cls, value: Any) -> Order:
        """The order of a document; :class:`MalformedStatement` names the member that is wrong."""
        members = Members(value, _MEMBERS, "the order")
        action = members.value["action"]
        effect = members.text("effect")
        if effect not in (READS, CHANGES):
            raise MalformedStatement(f"the effect of an order is reads or changes, not {effect!r}")
        _check_action(action)
        return cls(
            asset=members.text("asset"),
            asset_id=members.text("asset_id"),
            roles=tuple(members.texts("roles")),
            action=action,
            effect="reads" if effect == READS else "changes",
            rule=members.any_text("rule"),
            person=members.any_text("person"),
            target=members.any_text("target"),
        )


def check_order(order: Order) -> bytes:
    """The document of an order that can be taken. Raises :class:`BadSubmission`."""
    try:
        data = order.to_bytes()
        Order.from_bytes(data)
    except MalformedStatement as error:
        raise BadSubmission(f"the order cannot be kept: {error}", "bad-order") from error
    if len(data) > MAX_ORDER:
        raise BadSubmission(
            f"the order has {len(data)} bytes, the limit is {MAX_ORDER}: put what is long into a"
            " file on the thing itself, and name it",
            "too-large",
        )
    arguments = order.action["argv"] if order.action["kind"] == "run" else ()
    if holds_secret(data.decode()) or holds_secret(" ".join(arguments)):
        raise BadSubmission(
            "the order looks like it holds a secret; what is ordered is kept for ever: revoke it,"
            " and have the thing read it from where its secrets are",
            "secret",
        )
    return data


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an order: a JSON object, such as exit code, times, digests and sizes of what
    came out, or why that is unknown; ``evidence`` are commitments (``sha256:...``) to what is kept
    of it."""

    document: Mapping[str, Any]
    evidence: tuple[str, ...] = field(default=())

    def to_bytes(self) -> bytes:
        """The document as it is kept. Raises :class:`BadSubmission`."""
        try:
            commit_evidence(self.evidence)
            data = canonical_json(_harmless(dict(self.document)))
        except MalformedStatement as error:
            raise BadSubmission(f"the outcome cannot be kept: {error}", "bad-result") from error
        if len(data) > MAX_RESULT or len(self.evidence) > MAX_LISTED_EVIDENCE:
            raise BadSubmission(
                f"the outcome has {len(data)} bytes and {len(self.evidence)} commitments, the"
                f" limits are {MAX_RESULT} and {MAX_LISTED_EVIDENCE}",
                "too-large",
            )
        return data


def _check_action(action: Any) -> None:
    needed = _ACTIONS.get(str(action.get("kind"))) if isinstance(action, Mapping) else None
    if needed is None:
        raise MalformedStatement(f"an action is an object whose kind is one of {list(_ACTIONS)}")
    for name in needed:
        value = action.get(name)
        items = value if name == "argv" else [value]
        if (
            not isinstance(items, list)
            or not items
            or not items[0]
            or not all(isinstance(item, str) for item in items)
        ):
            raise MalformedStatement(f"the action {action['kind']} says its {name}")


def _harmless(value: Any) -> Any:
    """The value without texts that look like secrets."""
    if isinstance(value, str):
        return LEFT_OUT if holds_secret(value) else value
    if isinstance(value, Mapping):
        return {name: _harmless(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    return value
