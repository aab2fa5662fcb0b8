"""What a steward asks in order to find out where sources disagree, and the rows that answer it.

Invariant: each answer grows with the distinct jobs, services and data assets of a project, up to a
limit, and not with traffic. What a source says is what it said last: of a job's runs, the newest
that says anything of a data asset counts. Only what trusted senders sent is asked.
Source: https://clickhouse.com/docs/sql-reference/aggregate-functions/reference/argmax
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyoxigraph import NamedNode

from ontology.vocab import Fo, Rdf, Rdfs
from stewards.errors import UnexpectedAnswer
from stewards.fact_queries import SOURCE as SPAN_SOURCE
from stewards.fact_queries import of, text
from stewards.gate_client import Solution
from stewards.job_queries import SOURCE as RUN_SOURCE

MAX_STATEMENTS = 10_000
"""Pairs of a job and a data asset that are looked at."""
MAX_ACCESSES = 20_000


@dataclass(frozen=True)
class StatementRow:
    """What the runs of a job, or descriptions without one (no names), last said of a data asset.

    ``types`` is a JSON list of pairs of a column and its type, ``owners`` one of teams, ``aliases``
    one of pairs of namespace and name; each may be empty. ``last`` is when the data asset was last
    named, in ISO 8601. A batch is empty where nothing was said.
    """

    namespace: str
    asset: str
    job_namespace: str
    job_name: str
    types: str
    types_batch: str
    owners: str
    owners_batch: str
    aliases: str
    last: str
    last_batch: str
    read_batch: str
    write_batch: str


@dataclass(frozen=True)
class SeenRow:
    """The first batch that showed an operation."""

    subject: str
    batch: str


@dataclass(frozen=True)
class AccessRow:
    """That a program reads or writes a data asset (``way``). ``program`` is the name that its job
    and its service share, ``party`` the job or the operation, ``asset_name`` the label."""

    program: str
    source: str
    party: str
    asset: str
    asset_name: str
    store: str
    way: str


def statements(project: str) -> str:
    """Columns of :class:`StatementRow`."""
    names = "namespace, asset, job_namespace, job_name"
    moment = "(time, seq, event_id)"
    typed, owned = "attributes['schema.types']", "attributes['ownership.teams']"
    return f"""
SELECT attributes['dataset.namespace'] AS namespace, attributes['dataset.name'] AS asset,
       attributes['job.namespace'] AS job_namespace, attributes['job.name'] AS job_name,
       argMaxIf({typed}, {moment}, {typed} != '') AS types,
       argMaxIf(batch, {moment}, {typed} != '') AS types_batch,
       argMaxIf({owned}, {moment}, {owned} != '') AS owners,
       argMaxIf(batch, {moment}, {owned} != '') AS owners_batch,
       argMax(attributes['dataset.aliases'], {moment}) AS aliases,
       toString(max(time)) AS last, argMax(batch, {moment}) AS last_batch,
       argMinIf(batch, (seq, event_id), kind = 'input') AS read_batch,
       argMinIf(batch, (seq, event_id), kind = 'output') AS write_batch
FROM events WHERE {of(project, RUN_SOURCE)} AND kind IN ('input', 'output', 'dataset')
GROUP BY {names} ORDER BY {names} LIMIT {MAX_STATEMENTS:d}"""


def seen(project: str, operations: Iterable[str]) -> str:
    """Columns of :class:`SeenRow`."""
    listed = ", ".join(map(text, operations))
    return f"""
SELECT subject, argMin(batch, (seq, event_id)) AS batch FROM events
WHERE {of(project, SPAN_SOURCE)} AND subject IN ({listed}) GROUP BY subject ORDER BY subject"""


def any_job(graph: str) -> str:
    """SPARQL. Whether there is a job, or a conflict that may be over."""
    return (
        f"SELECT ?thing WHERE {{ VALUES ?kind {{ <{Fo.Job}> <{Fo.Conflict}> }}"
        f" GRAPH <{graph}> {{ ?thing a ?kind }} }} LIMIT 1"
    )


def accesses(graph: str) -> str:
    """SPARQL for :func:`access_rows`: what jobs, and services of exactly the same name, access."""
    ways = f"VALUES ?way {{ <{Fo.reads}> <{Fo.writes}> }}"
    same = (
        f"?job a <{Fo.Job}> ; <{Rdfs.label}> ?program ."
        f" ?service a <{Fo.Service}> ; <{Rdfs.label}> ?program ."
    )
    return f"""
SELECT DISTINCT ?program ?source ?party ?asset ?name ?store ?way WHERE {{ GRAPH <{graph}> {{
  {{ {same} BIND("{RUN_SOURCE}" AS ?source) BIND(?job AS ?party) {ways} ?job ?way ?asset }}
  UNION
  {{ {same} BIND("{SPAN_SOURCE}" AS ?source) ?service <{Fo.performs}>|<{Fo.offers}> ?party .
     {ways} ?party ?way ?asset }}
  ?asset <{Rdfs.label}> ?name . OPTIONAL {{ ?asset <{Fo.storedIn}> ?store }}
}} }} ORDER BY ?program ?source ?party ?asset ?name ?store ?way LIMIT {MAX_ACCESSES:d}"""


def access_rows(solutions: Iterable[Solution]) -> Iterator[AccessRow]:
    """Raises :class:`stewards.errors.UnexpectedAnswer`."""
    ways = {Fo.reads: "reads", Fo.writes: "writes"}
    for solution in solutions:
        found = {name: str(getattr(term, "value", "")) for name, term in solution.items()}
        try:
            yield AccessRow(
                found["program"],
                found["source"],
                found["party"],
                found["asset"],
                found["name"],
                found.get("store", ""),
                ways[found["way"]],
            )
        except KeyError as error:
            raise UnexpectedAnswer(f"/sparql gave an access without {error}") from error


def known(graph: str, things: Iterable[str]) -> str:
    """SPARQL. Each ``thing`` of these that the graph introduces."""
    values = " ".join(f"{NamedNode(thing)}" for thing in things)
    return (
        f"SELECT DISTINCT ?thing WHERE {{ VALUES ?thing {{ {values} }} GRAPH <{graph}>"
        f" {{ ?thing a ?kind }} }}"
    )


def stated(graph: str, prefix: str) -> str:
    """SPARQL. Every quad (``s``, ``p``, ``o``) of a ``conflict`` whose IRI begins so, and of its
    claims."""
    return (
        f"SELECT ?conflict ?s ?p ?o WHERE {{ GRAPH <{graph}> {{ ?conflict <{Rdf.type}>"
        f" <{Fo.Conflict}> . {{ ?conflict ?p ?o BIND(?conflict AS ?s) }} UNION"
        f" {{ ?conflict <{Fo.hasClaim}> ?s . ?s ?p ?o }} }}"
        f' FILTER(STRSTARTS(STR(?conflict), "{prefix}")) }} ORDER BY ?conflict ?s ?p ?o'
    )
