"""What runs of jobs would have the graph say.

Invariant: :func:`claims` is a pure function of the rows, and what two pages claim together is what
they claim apart, in any order. Jobs belong to the project; a dataset or topic is the one that
traces claim by the same system, address, database and name.
Source: https://openlineage.io/docs/spec/object-model
"""

from __future__ import annotations

import json
from collections import Counter

from pyoxigraph import Literal, NamedNode

from ingest.classify import MAX_IRI
from ontology.dataset_names import DataName, of_openlineage
from ontology.ids import Ids
from ontology.vocab import Fo, Skos, Xsd
from stewards.claim_set import DETAILS, LINKS, OPERATIONS, Claims, ClaimSet
from stewards.data_claims import claim_asset
from stewards.evidence import Evidence
from stewards.job_queries import AssetRow, ColumnRow, DerivationRow, JobRow, LineageRows
from stewards.names import MAX_NAME, shown

LONG_NAME = f"jobs, datasets and columns with names of more than {MAX_NAME} characters"
NAMELESS = "jobs, datasets and columns with names that show nothing"
TOO_WIDE = "runs with too many inputs and outputs to tell what came from what: send column lineage"

DIRECT, INDIRECT = "direct", "indirect"
_AS_THEY_ARE = "IDENTITY"


def claims(rows: LineageRows, ids: Ids, project: str) -> Claims:
    """What the project's lineage graph ought to hold after these rows."""
    return _Claimer(ids, project).claim(rows)


class _Claimer:
    def __init__(self, ids: Ids, project: str) -> None:
        self._ids = ids
        self._project = project
        self._quads = ClaimSet(ids.lineage_graph(project))
        self._set_aside: Counter[str] = Counter()

    def claim(self, rows: LineageRows) -> Claims:
        for job in rows.jobs:
            self._job_row(job)
        for asset in rows.assets:
            self._asset_row(asset)
        for derivation in rows.derivations:
            self._derivation(derivation)
        for column in rows.columns:
            self._column_row(column)
        return Claims(self._quads.ordered(), dict(self._set_aside))

    def _job_row(self, row: JobRow) -> None:
        evidence = ((row.first_seq, row.first_batch),)
        job = self._job(row.job_namespace, row.job_name, evidence)
        if not job or not row.parent_name:
            return
        parent = self._job(row.parent_namespace, row.parent_name, evidence)
        if parent and parent != job:
            self._quads.link(job, Fo.parentJob, parent, evidence)

    def _asset_row(self, row: AssetRow) -> None:
        evidence = ((row.first_seq, row.first_batch),)
        asset = self._asset(row.namespace, row.asset, evidence)
        if not asset:
            return
        for alias in _aliases(row.aliases):
            self._quads.text(asset, Skos.altLabel, alias, evidence, DETAILS)
        if row.way == "dataset":
            return
        job = self._job(row.job_namespace, row.job_name, evidence)
        if job:
            predicate = Fo.reads if row.way == "input" else Fo.writes
            self._quads.link(job, predicate, asset, evidence)

    def _derivation(self, row: DerivationRow) -> None:
        output = (row.output_seq, row.output_batch)
        if row.relation == "wide":
            self._set_aside[TOO_WIDE] += 1
            return
        evidence = tuple(
            sorted({output, (row.input_seq, row.input_batch), (row.end_seq, row.end_batch)})
        )
        made = self._asset(row.namespace, row.asset, (output,))
        source = self._asset(
            row.from_namespace, row.from_asset, ((row.input_seq, row.input_batch),)
        )
        if made and source and made != source:
            self._quads.link(made, Fo.derivedFrom, source, evidence)

    def _column_row(self, row: ColumnRow) -> None:
        evidence = ((row.first_seq, row.first_batch),)
        made = self._column(row.namespace, row.asset, row.column, evidence)
        source = self._column(row.from_namespace, row.from_asset, row.from_column, evidence)
        if not made or not source or made == source:
            return
        if row.influence == DIRECT:
            self._quads.link(made, Fo.derivedFromColumn, source, evidence)
        steps = set(row.transformations.split())
        if row.influence != DIRECT or row.masking == "true" or steps - {_AS_THEY_ARE}:
            self._derivation_of_columns(row, made, source, steps, evidence)

    def _derivation_of_columns(
        self, row: ColumnRow, made: str, source: str, steps: set[str], evidence: Evidence
    ) -> None:
        """What the link between two columns doesn't say."""
        derivation = self._ids.column_derivation(made, source)
        needs = frozenset({made, source})
        label = f"{row.column} from {row.from_column}"
        self._quads.thing(derivation, Fo.ColumnDerivation, label, evidence, LINKS, "", needs)
        self._quads.node(derivation, Fo.derivedColumn, made, evidence, LINKS)
        self._quads.node(derivation, Fo.sourceColumn, source, evidence, LINKS)
        self._quads.text(derivation, Fo.influence, row.influence or INDIRECT, evidence, LINKS)
        for step in steps:
            self._quads.text(derivation, Fo.transformation, step, evidence, LINKS)
        if row.masking == "true":
            masks = Literal("true", datatype=NamedNode(Xsd.boolean))
            self._quads.claim(derivation, Fo.masks, masks, evidence, LINKS, derivation)

    # --- things; empty where one can't be kept

    def _job(self, namespace: str, name: str, evidence: Evidence) -> str:
        if not self._is_kept(name, namespace, name):
            return ""
        job = self._ids.job(self._project, namespace, name)
        if not self._is_short(job):
            return ""
        self._quads.thing(job, Fo.Job, name, evidence, OPERATIONS)
        if namespace:
            self._quads.text(job, Fo.namespace, namespace, evidence, OPERATIONS)
        self._quads.node(job, Fo.inProject, self._ids.project(self._project), evidence, OPERATIONS)
        return job

    def _asset(self, namespace: str, name: str, evidence: Evidence) -> str:
        asset = self._named(namespace, name)
        if asset is None or not self._is_short(asset.iri(self._ids, self._project)):
            return ""
        return claim_asset(self._quads, self._ids, self._project, asset, evidence)

    def _column(self, namespace: str, name: str, column: str, evidence: Evidence) -> str:
        asset = self._named(namespace, name)
        if asset is None or not self._is_kept(column, column):
            return ""
        subject = asset.column(self._ids, self._project, column)
        if not self._is_short(subject):
            return ""
        holder = claim_asset(self._quads, self._ids, self._project, asset, evidence)
        self._quads.thing(
            subject, Fo.Column, column, evidence, OPERATIONS, needs=frozenset({holder})
        )
        self._quads.node(subject, Fo.columnOf, holder, evidence, OPERATIONS)
        return subject

    def _named(self, namespace: str, name: str) -> DataName | None:
        asset = of_openlineage(namespace, name)
        if asset is None:
            return None
        store = asset.store
        kept = self._is_kept(asset.name, asset.name, store.address, store.namespace)
        return asset if kept else None

    def _is_kept(self, name: str, *texts: str) -> bool:
        if max(map(len, texts)) > MAX_NAME:
            self._set_aside[LONG_NAME] += 1
            return False
        if not shown(name):
            self._set_aside[NAMELESS] += 1
            return False
        return True

    def _is_short(self, iri: str) -> bool:
        if len(iri) >= MAX_IRI:
            self._set_aside[LONG_NAME] += 1
            return False
        return True


def _aliases(text: str) -> list[str]:
    """The other names of a dataset, each as its namespace and name."""
    try:
        said = json.loads(text) if text else []
    except ValueError:
        return []
    return [
        "/".join(filter(None, (str(alias[0]).rstrip("/"), str(alias[1]).lstrip("/"))))
        for alias in said
        if isinstance(alias, list) and len(alias) == 2
    ]
