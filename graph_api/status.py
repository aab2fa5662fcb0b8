"""How the platform is, in one document.

Invariant: everything shown is read from the parts as they are; nothing secret is among it.
"""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from graph_api.conflicts import count
from graph_api.job_health import JobHealth
from ingest.errors import WarehouseError
from proofs.proposal import AWAITING
from runtime.access import INGEST
from runtime.steward_keys import CUSTODY as STEWARD_CUSTODY

if TYPE_CHECKING:
    # The assembly opens what is described here; only its type is needed.
    from graph_api.assembly import Assembly

_MOST_WARNINGS = 100


class Status:
    """Describes one assembly. Call it for what ``GET /status`` shows."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self.jobs = JobHealth(assembly.jobs)
        self._counted: tuple[tuple[int, int], dict[str, int]] | None = None
        self._unreachable = ""

    def __call__(self) -> dict[str, Any]:
        governance = self._assembly.ledger.governance
        inbox = self._assembly.telemetry.inbox.counts()
        return {
            "version": version(),
            "base": self._assembly.ids.base,
            "url": self._assembly.url,
            "otlp_grpc": self._assembly.grpc_address or "off",
            "head": self._assembly.ledger.head,
            "published": self._assembly.publisher.size,
            "snapshot": self._assembly.readers.snapshots.current().head,
            "quads": self._assembly.index.quads(),
            "state_digest": self._assembly.ledger.state_digest,
            "log_key": {
                "name": self._assembly.verifier.label,
                "verifier": str(self._assembly.verifier),
                "custody": self._assembly.custody,
                "former": [str(item.key) for item in self._assembly.keys.held[:-1]],
            },
            "openbao": self._openbao(),
            "steward_keys": {"custody": STEWARD_CUSTODY, "stewards": self._steward_keys()},
            "organisation": governance.organisation,
            "single_operator": governance.single_operator,
            "projects": [
                {"slug": item.slug, "label": item.label, "restricted": item.restricted}
                for item in governance.projects.values()
            ],
            "proposals": self._assembly.index.counts(),
            "inbox": {
                "batches": inbox.batches,
                "pending": inbox.pending,
                "set_aside": inbox.set_aside,
            },
            # Facts are whole up to the cursor; of the batch after it some may be there already.
            "facts": self._fact_counts(),
            "stewards": self._assembly.stewards.status(),
            "jobs": self.jobs.status(),
            "forwarding": self._assembly.telemetry.forwarder.status(),
            "workers": self._assembly.readers.workers.status(),
            "problems": self.problems(),
            "warnings": self.warnings(),
        }

    def _openbao(self) -> dict[str, Any] | None:
        """Where secrets come from, and whether the login there holds; ``None`` without one."""
        bao = self._assembly.openbao
        if bao is None:
            return None
        return {"address": bao.address, "problem": bao.problem or None}

    def _fact_counts(self) -> dict[str, int]:
        """Counting takes a scan: only where facts came in, were classified again or erased."""
        cursor = self._assembly.telemetry.inbox.cursor
        moment = (cursor, self._assembly.telemetry.warehouse.changes)
        self._unreachable = ""
        if self._counted is None or self._counted[0] != moment:
            try:
                self._counted = (moment, self._assembly.telemetry.warehouse.counts())
            except WarehouseError as error:
                # How the rest is matters most while a part is away.
                self._unreachable = error.detail
        known = self._counted[1] if self._counted else {}
        return {**known, "cursor": cursor}

    def warnings(self) -> list[str]:
        """What a person should look at while everything works, in sentences."""
        return [
            *self._exposed_keys(),
            *self._unsigned(),
            *self._assembly.roster.keys.unreadable,
            *self._held(),
            *self._conflicts(),
            *self._assembly.telemetry.forwarder.warnings(),
            *self.jobs.warnings(),
        ]

    def _steward_keys(self) -> list[dict[str, Any]]:
        """The key that each steward here signs with; ``None`` where none holds."""
        found = []
        for name, project, _ in self._assembly.roster.named():
            key = self._assembly.roster.key(name)
            label = key.verifier.label if key else None
            found.append({"name": name, "project": project, "key": label})
        return found

    def _unsigned(self) -> list[str]:
        """Stewards that sign nothing, for want of a key that holds."""
        return [
            f"steward {item['name']} of project {item['project']} has no key here that holds, so"
            " what it proposes is unsigned: approve the proposal that enrols one, or make one with"
            f" 'fractalops stewards rotate-key {item['name']}'"
            for item in self._steward_keys()[:_MOST_WARNINGS]
            if item["key"] is None
        ]

    def _conflicts(self) -> list[str]:
        """Projects whose sources disagree."""
        counted = (
            (item.slug, count(self._assembly.store, item.graph))
            for item in self._assembly.ledger.governance.projects.values()
        )
        return [
            f"sources of project {slug} disagree on {number}"
            f" {'point' if number == 1 else 'points'}: see who says what with 'fractalops query"
            " --file docs/questions/q27-conflicts.rq'"
            for slug, number in counted
            if number
        ]

    def _held(self) -> list[str]:
        """Proposals that wait because of who showed what is in them, or of how much it was."""
        awaiting = self._assembly.index.proposals(states=[AWAITING], limit=_MOST_WARNINGS)
        return [
            f"proposal {view.id} of project {view.project} waits for a person: {view.hold}. Look at"
            f" it with 'fractalops proposals show {view.id}', then approve or reject it"
            for _, view in awaiting
            if view.hold
        ]

    def _exposed_keys(self) -> list[str]:
        """Server keys that pages send with."""
        found = []
        for item in self._assembly.access.all():
            pages = self._assembly.access.use_of(item.id).from_pages
            if item.role == INGEST and pages and not item.revoked_at:
                found.append(
                    f"the server key {item.id} of project {item.project} came from a page in"
                    f" {pages} requests, so it is public: make others with 'fractalops projects key"
                    f" {item.project}' and '--browser', use them, and end this one with"
                    f" '--revoke {item.id}'"
                )
        return found

    def problems(self) -> list[str]:
        """What keeps the platform from doing all of its work, in sentences."""
        found = [
            f"the log is not published in {k}: {v}"
            for k, v in self._assembly.publisher.problems.items()
        ]
        if self._assembly.ledger.stopped:
            found.append(f"no changes are taken: {self._assembly.ledger.stopped}")
        bao = self._assembly.openbao
        if bao is not None and bao.problem:
            found.append(bao.problem)
        if self._unreachable:
            found.append(self._unreachable)
        return found


def version() -> str:
    return installed_version("fractalops")
