"""Follows a proposal's evidence back: to the batches as they came, and to the rules that read them.

Invariant: it only ever names what the inbox and the facts hold; a batch that is not known here is
said to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from graph_api.erasure import Told
from ingest.evidence_store import EvidenceStore
from ingest.inbox import Inbox
from ingest.warehouse import Warehouse

MOST_BATCHES = 64
"""How many batches the rules are looked up for."""


UNTRUSTED = "some of its evidence came from senders that aren't trusted"
FOREIGN = "some of its evidence was received for another project"


def doubts(store: EvidenceStore, evidence: Sequence[str], project: str | None) -> str:
    """Why a person is to look at what rests on these batches; empty where there is no reason."""
    if store.untrusted(evidence):
        return UNTRUSTED
    if project is not None and store.foreign(evidence, project):
        return FOREIGN
    return ""


class EvidenceTrace:
    """Callable as :data:`graph_api.proofs.Trace`."""

    def __init__(self, inbox: Inbox, warehouse: Warehouse, erasure: Callable[[int], Told]) -> None:
        self._inbox = inbox
        self._warehouse = warehouse
        self._erasure = erasure

    def __call__(self, evidence: tuple[str, ...], subjects: tuple[str, ...]) -> dict[str, Any]:
        """The batches with these commitments, and the rules that classified what is in them: those
        that concern one of ``subjects`` (IRIs) where there are any."""
        batches = [self.batch(digest) for digest in evidence]
        return {"evidence": batches, "rules": self._rules(evidence, subjects)}

    def batch(self, digest: str) -> dict[str, Any]:
        """What is known of the batch with this commitment, and whether its payload was erased."""
        found = self._inbox.evidence.find(digest)
        if found is None:
            return {"digest": digest, "known": False}
        return {
            "digest": digest,
            "known": True,
            "received_at": datetime.fromtimestamp(found.received_at / 1e9, UTC).isoformat(),
            "source": found.source,
            "project": found.project,
            "content_type": found.content_type,
            "size": found.size,
            "payload_sha256": found.payload_sha256,
            "erased": self._erased(digest),
        }

    def _erased(self, digest: str) -> dict[str, Any] | None:
        """How the payload went, where it is gone; without an entry none was to be kept."""
        erased = self._inbox.erasures.of(digest)
        if erased is None:
            return None
        if erased.entry is None:
            return {"entry": None, "at": None, "by": None, "reason": "payloads are not kept"}
        told = self._erasure(erased.entry)
        return {"entry": told.entry, "at": told.at, "by": told.by, "reason": told.reason}

    def _rules(self, evidence: tuple[str, ...], subjects: tuple[str, ...]) -> list[dict[str, Any]]:
        if not evidence:
            return []
        listed = ", ".join(_sql(item) for item in evidence[:MOST_BATCHES])
        about = ", ".join(_sql(item) for item in subjects) or "''"
        result = self._warehouse.query(
            f"SELECT rule, class, count() AS events, max(subject IN ({about})) AS direct"
            f" FROM events WHERE batch IN ({listed}) AND rule != ''"
            " GROUP BY rule, class ORDER BY direct DESC, events DESC, rule"
        )
        rows = [
            {"rule": rule, "class": class_, "events": int(events), "direct": bool(direct)}
            for rule, class_, events, direct in result.rows
        ]
        return [row for row in rows if row["direct"]] or rows


def _sql(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
