"""Looking round for machines, over what the rest of the assembly has opened.

Invariant: as for the assembly, whose part this is. Of restricted projects no fact is looked at, and
none of senders that aren't trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from graph_api.assembly_control import Control
from ingest.errors import IngestError
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.index import Index
from proofs.ledger import Ledger
from runtime.asset_sightings import Look
from runtime.asset_status import StatusKeeper
from runtime.urls import ExecutorUrl
from stewards.discovery import AssetDiscovery
from stewards.discovery_places import cluster_places, container_places, look_at, unreachable
from stewards.discovery_telemetry import MOST_ROWS, TELEMETRY, machines, sightings


def open_discovery(
    ledger: Ledger,
    store: GraphStore,
    ids: Ids,
    index: Index,
    statuses: StatusKeeper,
    control: Control,
    warehouse: Warehouse,
    *,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
) -> AssetDiscovery:
    """Looks where ``control`` reaches, and at the facts. ``new_id`` names a look at a host."""

    def places() -> Look:
        reach = control.reach
        return look_at({**container_places(reach, clock, new_id), **cluster_places(reach, clock)})

    def telemetry() -> Look:
        projects = ledger.governance.projects.values()
        hidden = sorted(project.slug for project in projects if project.restricted)
        try:
            found = warehouse.query(
                machines(), hidden_projects=hidden, trusted_only=True, max_rows=MOST_ROWS
            )
        except IngestError as error:
            return Look(silent={TELEMETRY: str(error)})
        return Look(tuple(sightings(found.rows, ids, clock())), frozenset({TELEMETRY}))

    def probe(url: ExecutorUrl) -> str:
        found = control.calls.probe(url, "HEAD", "", {})
        return "" if found.status is not None else found.reason or "it did not answer"

    return AssetDiscovery(
        ledger,
        store,
        ids,
        statuses,
        index.proposals,
        (places, telemetry),
        reachable=lambda graph: unreachable(graph, probe),
    )
