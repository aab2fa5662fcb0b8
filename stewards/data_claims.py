"""What is said of a dataset or topic, and of the store that keeps it, whichever source names it.

Invariant: the claims follow from the :class:`ontology.dataset_names.DataName` alone, so two sources
that name the same thing claim the same quads.
"""

from __future__ import annotations

from ontology.dataset_names import DataName, Store
from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.claim_set import DATA, PLACES, ClaimSet
from stewards.evidence import Evidence

_KINDS = {"dataset": Fo.Dataset, "topic": Fo.Topic}


def claim_asset(
    quads: ClaimSet, ids: Ids, project: str, asset: DataName, evidence: Evidence
) -> str:
    """Introduce the data asset and its store; the IRI of the asset."""
    store, subject = asset.store, asset.iri(ids, project)
    holder = store.iri(ids, project)
    _claim_store(quads, project, store, holder, evidence)
    kind = _KINDS[asset.kind]
    quads.thing(subject, kind, asset.name, evidence, DATA, needs=frozenset({holder}))
    quads.text(subject, Fo.system, store.system, evidence, DATA)
    if store.namespace:
        quads.text(subject, Fo.namespace, store.namespace, evidence, DATA)
    quads.node(subject, Fo.storedIn, holder, evidence, DATA)
    return subject


def _claim_store(
    quads: ClaimSet, project: str, store: Store, holder: str, evidence: Evidence
) -> None:
    where = " at ".join(filter(None, (store.namespace, store.address))) or project
    label = f"{store.system} {where}"
    quads.thing(holder, Fo.DataStore, label, evidence, PLACES, store.namespace)
    quads.text(holder, Fo.system, store.system, evidence, PLACES)
    if store.namespace:
        quads.text(holder, Fo.namespace, store.namespace, evidence, PLACES)
    if store.address:
        quads.text(holder, Fo.address, store.address, evidence, PLACES)
