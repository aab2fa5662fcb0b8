"""One page of the catalog, as a query worker makes it of an open snapshot.

Invariant: a page is a pure function of the snapshot, of what the caller may read and of where the
page begins. Entities come kind by kind and within a kind by IRI, so a page goes on exactly where
the one before it ended. What a restricted graph states is seen by those alone who may read it, and
so are its project and who is steward of that alone.
Source: https://www.w3.org/TR/vocab-dcat-3/
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final

from pyoxigraph import Literal, NamedNode, Quad, Store

from graph_api.query_messages import Task
from ontology.terms import skolem_prefix
from ontology.vocab import FO, PREFIXES, Fo, Owl, Rdf, Rdfs, Sh

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "project": (Fo.Project,),
    "principal": (Fo.Person, Fo.Agent, Fo.ServiceAccount, Fo.Steward, Fo.Principal),
    "term": (Owl.Class,),
    "shape": (Sh.NodeShape,),
    "data-store": (Fo.DataStore,),
    "service": (Fo.Service,),
    "dataset": (Fo.Dataset,),
    "topic": (Fo.Topic,),
    "job": (Fo.Job,),
    "operation": (
        Fo.HttpRoute,
        Fo.HttpCall,
        Fo.RpcMethod,
        Fo.RpcCall,
        Fo.DatabaseOperation,
        Fo.PublishOperation,
        Fo.ConsumeOperation,
        Fo.MessageOperation,
        Fo.InternalOperation,
        Fo.Operation,
    ),
    "error-issue": (Fo.ErrorIssue,),
}
"""Kinds of entities in the order of the pages, each with its classes, the narrower ones first."""

_ELSEWHERE = {
    "project": "governance",
    "principal": "governance",
    "term": "ontology",
    "shape": "shapes",
}
_OF_PROJECTS = frozenset({"project", "principal"})
_KIND_OF = {name: kind for kind, names in KINDS.items() if kind not in _ELSEWHERE for name in names}
_TYPE, _LABEL = NamedNode(Rdf.type), NamedNode(Rdfs.label)
_DISPUTES = NamedNode(Fo.disputes)
_LINEAGE_GRAPH, _STEWARD_OF = NamedNode(Fo.lineageGraph), NamedNode(Fo.stewardOf)
_COLUMN_OF, _DERIVED = NamedNode(Fo.columnOf), NamedNode(Fo.derivedFromColumn)
_HOLDERS = (NamedNode(Fo.offers), NamedNode(Fo.performs))
MOST_COLUMNS = 2000
"""Of one data asset; columns are few, since only those that take part in lineage are known."""
MOST_CONFLICTS = 50


def page(store: Store, task: Task, output: IO[bytes]) -> str:
    """Writes a page as JSON: ``items``, ``gone`` and ``next`` (kind and IRI, or null).

    ``task.what`` is JSON: ``kinds``, ``limit``, ``after`` (kind and IRI, or null), ``only`` (IRIs,
    or null for all) and ``gone`` (IRIs that may have left the catalog).
    """
    wanted = json.loads(task.what)
    graphs = _Graphs(store, task)
    only = None if wanted["only"] is None else graphs.entities(wanted["only"])
    items: list[dict[str, Any]] = []
    following: list[str] | None = None
    after = wanted["after"]
    kinds = [kind for kind in KINDS if kind in wanted["kinds"]]
    if after is not None:
        kinds = kinds[kinds.index(after[0]) :]
    for kind in kinds if wanted["limit"] else ():
        least = after[1] if after is not None and after[0] == kind else ""
        found = graphs.listed(kind) if only is None else (iri for iri, of in only if of == kind)
        room = wanted["limit"] - len(items)
        # One more than there is room for says whether a page follows.
        chosen = heapq.nsmallest(room + 1, {iri for iri in found if iri > least})
        items.extend(graphs.entity(kind, iri) for iri in chosen[:room])
        if len(chosen) > room:
            following = [items[-1]["kind"], items[-1]["id"]]
            break
    gone = sorted(iri for iri in wanted["gone"] if graphs.kind_of(iri) is None)
    document = {"items": items, "gone": gone, "next": following}
    output.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())
    return "application/json"


class _Graphs:
    """What one caller may see of one snapshot."""

    def __init__(self, store: Store, task: Task) -> None:
        self._store = store
        self._prefix = f"{task.base}graph/"
        self._lineage = f"{self._prefix}lineage/"
        self._skolem = skolem_prefix(task.base.rstrip("/"))
        visible = [
            graph.value
            for graph in store.named_graphs()
            if isinstance(graph, NamedNode) and graph.value not in task.hidden
        ]
        self._projects = {
            graph: graph.removeprefix(self._lineage)
            for graph in visible
            if graph.startswith(self._lineage)
        }
        self._lineage_graphs = [NamedNode(graph) for graph in self._projects]
        self._hidden_projects = {
            quad.subject
            for graph in task.hidden
            for quad in store.quads_for_pattern(None, _LINEAGE_GRAPH, NamedNode(graph), None)
        }

    def listed(self, kind: str) -> Iterator[str]:
        """The IRIs of a kind; one may come more than once."""
        for graph in self._of(kind):
            for name in KINDS[kind]:
                for quad in self._store.quads_for_pattern(None, _TYPE, NamedNode(name), graph):
                    subject = quad.subject
                    # What was a blank node has no name that a catalog could know it by.
                    if isinstance(subject, NamedNode) and not self._nameless(subject):
                        if self._hidden_projects and kind in _OF_PROJECTS and self._hides(subject):
                            continue
                        yield subject.value

    def entities(self, changed: Iterable[str]) -> set[tuple[str, str]]:
        """IRIs and kinds of the entities that tell of what changed."""
        found = set()
        for iri in changed:
            for holder in (iri, *self._assets(iri)):
                kind = self.kind_of(holder)
                if kind is not None:
                    found.add((holder, kind))
        return found

    def kind_of(self, iri: str) -> str | None:
        """The kind of a thing of lineage; ``None`` for what is no entity here."""
        for quad in self._about(NamedNode(iri), _TYPE):
            kind = _KIND_OF.get(_text(quad))
            if kind is not None:
                return kind
        return None

    def entity(self, kind: str, iri: str) -> dict[str, Any]:
        """What the catalog says of an entity."""
        subject = NamedNode(iri)
        quads = (
            list(self._about(subject))
            if kind not in _ELSEWHERE
            else list(self._store.quads_for_pattern(subject, None, None, self._of(kind)[0]))
        )
        properties: dict[str, list[str]] = {}
        links: dict[str, list[str]] = {}
        types: dict[str, str] = {}
        label = ""
        for quad in quads:
            predicate, value, graph = quad.predicate, quad.object, quad.graph_name
            if predicate == _TYPE:
                assert isinstance(graph, NamedNode)
                types[_text(quad)] = min(graph.value, types.get(_text(quad), graph.value))
            elif predicate == _LABEL:
                # Two projects may call a thing differently; the catalog takes one, always the same.
                label = min(label or _text(quad), _text(quad))
            elif isinstance(value, Literal):
                properties.setdefault(_local(predicate.value), []).append(value.value)
            elif isinstance(value, NamedNode):
                links.setdefault(_local(predicate.value), []).append(value.value)
        name = next(name for name in KINDS[kind] if name in types)
        found: dict[str, Any] = {
            "id": iri,
            "kind": kind,
            "class": name,
            "label": label,
            "projects": sorted({self._project(quad) for quad in quads} - {""}),
            "graph": types[name],
            "properties": _sorted(properties),
            "links": _sorted(links),
        }
        if kind in ("dataset", "topic"):
            found["columns"] = self._columns(subject)
            found["conflicts"] = self._conflicts(subject)
        elif kind == "operation":
            found["services"] = self._services(subject)
        return found

    def _columns(self, asset: NamedNode) -> list[dict[str, Any]]:
        columns: dict[str, dict[str, Any]] = {}
        for graph in self._lineage_graphs:
            for quad in self._store.quads_for_pattern(None, _COLUMN_OF, asset, graph):
                column = quad.subject
                if not isinstance(column, NamedNode) or len(columns) >= MOST_COLUMNS:
                    continue
                if column.value not in columns:
                    columns[column.value] = {
                        "id": column.value,
                        "label": min((_text(it) for it in self._about(column, _LABEL)), default=""),
                        "derivedFrom": sorted({_text(it) for it in self._about(column, _DERIVED)}),
                    }
        return [columns[iri] for iri in sorted(columns)]

    def _conflicts(self, asset: NamedNode) -> list[dict[str, str]]:
        conflicts = {
            quad.subject
            for graph in self._lineage_graphs
            for quad in self._store.quads_for_pattern(None, _DISPUTES, asset, graph)
            if isinstance(quad.subject, NamedNode)
        }
        return [
            {
                "id": conflict.value,
                "label": min((_text(it) for it in self._about(conflict, _LABEL)), default=""),
            }
            for conflict in sorted(conflicts, key=str)[:MOST_CONFLICTS]
        ]

    def _services(self, operation: NamedNode) -> list[str]:
        return sorted(
            {
                quad.subject.value
                for graph in self._lineage_graphs
                for holder in _HOLDERS
                for quad in self._store.quads_for_pattern(None, holder, operation, graph)
                if isinstance(quad.subject, NamedNode)
            }
        )

    def _assets(self, part: str) -> set[str]:
        """The data assets that tell of a column, or of a conflict."""
        return {
            _text(quad)
            for predicate in (_COLUMN_OF, _DISPUTES)
            for quad in self._about(NamedNode(part), predicate)
        }

    def _about(self, subject: NamedNode, predicate: NamedNode | None = None) -> Iterator[Quad]:
        for quad in self._store.quads_for_pattern(subject, predicate, None, None):
            graph = quad.graph_name
            if isinstance(graph, NamedNode) and graph.value in self._projects:
                yield quad

    def _nameless(self, subject: NamedNode) -> bool:
        return subject.value.startswith(self._skolem)

    def _hides(self, subject: NamedNode) -> bool:
        """Whether it is a project that isn't seen, or a steward of such alone."""
        own = self._store.quads_for_pattern(subject, _STEWARD_OF, None, None)
        projects = {quad.object for quad in own} or {subject}
        return projects <= self._hidden_projects

    def _of(self, kind: str) -> list[NamedNode]:
        name = _ELSEWHERE.get(kind)
        return self._lineage_graphs if name is None else [NamedNode(self._prefix + name)]

    def _project(self, quad: Quad) -> str:
        graph = quad.graph_name
        return self._projects.get(graph.value, "") if isinstance(graph, NamedNode) else ""


def _text(quad: Quad) -> str:
    value = quad.object
    return value.value if isinstance(value, NamedNode | Literal) else ""


def _sorted(values: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: sorted(set(values[name])) for name in sorted(values)}


def _local(iri: str) -> str:
    """A property by its name in our namespace, or prefixed."""
    if iri.startswith(FO):
        return iri.removeprefix(FO)
    for prefix, namespace in PREFIXES.items():
        if iri.startswith(namespace):
            return f"{prefix}:{iri.removeprefix(namespace)}"
    return iri
