"""From the bytes that three official SDKs sent of one shop to what a steward proposes.

Spans are those of ``test_steward_golden``. What the clients of PostHog and Sentry sent of the same
shop had its trace and span ids put to those, and lost what named the machine it ran on. To write
the golden file anew after a wanted change, run this test with ``WRITE_GOLDEN=1`` in the
environment, and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.classify import Classifier
from ingest.decoders import decoders
from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE, SPAN_SOURCE, Event
from ingest.evidence import EvidenceBatch
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.terms import to_nquads
from tests.stewards.test_joins import graph_of

FOLDER = Path(__file__).parent / "golden"
GOLDEN = FOLDER / "shop-joined.nq"
# When the spans were received.
RECEIVED = 1_795_379_105_000_000_000
PAYLOADS = (
    ("shop-storefront.pb", SPAN_SOURCE, PROTOBUF),
    ("shop-orders.pb", SPAN_SOURCE, PROTOBUF),
    ("shop-product.json", PRODUCT_SOURCE, "application/json"),
    ("shop-errors.envelope", ERROR_SOURCE, "application/x-sentry-envelope"),
)


def batches(project: str) -> list[list[Event]]:
    """The events of each payload."""
    decode = decoders(Pseudonyms(bytes(32)))
    found = []
    for name, source, content_type in PAYLOADS:
        payload = (FOLDER / name).read_bytes()
        batch = EvidenceBatch(
            seq=0,
            digest="",
            project=project,
            source=source,
            content_type=content_type,
            size=len(payload),
            received_at=RECEIVED,
            payload_sha256=None,
        )
        found.append([e for e in decode[source](payload, batch) if isinstance(e, Event)])
    return found


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_payloads_of_all_sources_become_the_golden_graph(
    warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str, order: tuple[int, ...]
) -> None:
    sent = batches(project)
    graph, _ = graph_of(warehouse, classifier, ids, [sent[place] for place in order])
    spans = [[e._replace(project=f"{project}-s") for e in events] for events in sent[:2]]
    known, _ = graph_of(warehouse, classifier, ids, spans)
    of_spans = set(to_nquads(known).decode().replace(f"{project}-s", "shop").splitlines())
    lines = to_nquads(graph).decode().replace(project, "shop").splitlines()
    assert of_spans <= set(lines)
    # What spans alone say has its own golden file.
    joined = "".join(f"{line}\n" for line in lines if line not in of_spans)
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(joined, encoding="utf-8")
    assert joined == GOLDEN.read_text(encoding="utf-8")


def test_nobody_is_in_the_graph() -> None:
    sent = (FOLDER / "shop-product.json").read_text() + (
        FOLDER / "shop-errors.envelope"
    ).read_text()
    held = GOLDEN.read_text(encoding="utf-8")
    for secret in ("customer-0", "somebody", "integer division"):
        assert secret in sent
        assert secret not in held
