"""Keeps records of runs, requests and checks as evidence, from which their facts are made.

Invariant: what is kept is redacted before it is sealed, durable before its digest is given away,
and a fact in the order in which it was kept; an erasure takes the output and leaves its digest.
Source: :mod:`ingest.asset_runs`, :mod:`ingest.evidence`
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter

from ingest.asset_runs import CONTENT_TYPE, output_of, payload_of
from ingest.errors import EvidenceErased
from ingest.events import RUN_SOURCE
from ingest.inbox import Inbox
from ingest.sender import Sender
from runtime.run_record import RunRecord

RUNS = Counter(
    "fractalops_asset_runs_total", "Runs, requests and checks that ended.", ["kind", "outcome"]
)


class RunEvidence:
    """``redact`` takes out of a text what the rules take out of any."""

    def __init__(self, inbox: Inbox, redact: Callable[[str], str]) -> None:
        self._inbox = inbox
        self._redact = redact

    def keep(self, record: RunRecord) -> str:
        """The digest of the batch that a record became. Raises
        :class:`ingest.errors.IngestError`."""
        RUNS.labels(record.kind, record.outcome).inc()
        payload = payload_of(record, self._redact)
        receipt = self._inbox.submit_blocking(
            Sender(record.project), RUN_SOURCE, CONTENT_TYPE, payload
        )
        return receipt.digest

    def output(self, digest: str) -> tuple[str, str]:
        """Standard output and error, redacted. Raises :class:`ingest.errors.IngestError`."""
        batch = self._inbox.evidence.find(digest)
        if batch is None or batch.source != RUN_SOURCE:
            raise EvidenceErased(f"nothing is kept here as {digest}")
        return output_of(self._inbox.payload(batch.seq))
