"""Changes of a generated organisation, as the gate is given them: effective, canonical, by size.

Invariant: a pure function of the organisation and the change's name. ``new`` describes services
that the graph does not know and links them to some that it does; ``update`` changes nodes that it
knows, half of the quads being removals. A sound change breaks no shape; a broken one breaks some
node, in an ``update`` one that the change itself does not mention.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench_organisation import (
    IN_PROJECT,
    LABEL,
    NOTATION,
    ROUTES,
    SERVICES,
    SHARED,
    STORES,
    TYPE,
    Names,
    Organisation,
    Placed,
    Project,
    iri,
    text,
    typed,
)
from pyoxigraph import Quad, RdfFormat, parse

from ontology.terms import Delta
from ontology.vocab import Fo, Prov, Skos, Xsd

KINDS = ("new", "update")
QUADS_OF_A_PROJECT = 1_000
"""A larger change is spread over several projects."""


@dataclass(frozen=True)
class Change:
    """A delta by name. ``kind`` is one of :data:`KINDS`."""

    name: str
    kind: str
    size: int
    sound: bool
    delta: Delta


def change(
    organisation: Organisation, kind: str, size: int, number: int, *, sound: bool = True
) -> Change:
    """One change of exactly ``size`` quads. Raises ValueError where the organisation has not
    enough projects for it."""
    name = f"{kind}-{size}-{number}" + ("" if sound else "-broken")
    chosen = random.Random(f"{organisation.seed}/{name}")
    parts = -(-size // QUADS_OF_A_PROJECT)
    if parts > organisation.projects:
        raise ValueError(f"{size} quads need {parts} projects, there are {organisation.projects}")
    additions: set[Placed] = set()
    removals: set[Placed] = set()
    projects = chosen.sample(range(organisation.projects), parts)
    for place, number_of_project in enumerate(projects):
        count = size // parts + (place < size % parts)
        project = Project(organisation, number_of_project)
        broken = not sound and place == 0
        if kind == "new":
            additions.update(_new(project, name, count, chosen, broken))
        else:
            _update(project, count, chosen, broken, additions, removals)
    assert len(additions) + len(removals) == size, (name, len(additions), len(removals))
    return Change(name, kind, size, sound, Delta(_quads(additions), _quads(removals)))


def _quads(placed: set[Placed]) -> frozenset[Quad]:
    lines = "".join(f"{' '.join(terms)} .\n" for terms in sorted(placed))
    return frozenset(parse(lines.encode(), format=RdfFormat.N_QUADS))


# --- new things


def _new(
    project: Project, name: str, count: int, chosen: random.Random, broken: bool
) -> Iterator[Placed]:
    left, number = count, 0
    while left:
        block = _new_service(project.names, f"{name}-{number}", chosen, broken and not number)
        for part in block:
            if len(part) <= left:
                left -= len(part)
                for triple in part:
                    yield (*triple, project.names.graph)
        number += 1


def _new_service(
    names: Names, name: str, chosen: random.Random, broken: bool
) -> Iterator[list[tuple[str, str, str]]]:
    """A service in parts that may be left out, all but the first; the last are of one quad."""
    service = iri(names.ids.service(names.slug, name))
    core = [(service, TYPE, iri(Fo.Service)), (service, IN_PROJECT, names.own)]
    # What makes it broken is that nothing gives it a name that people can read.
    core.append((service, NOTATION if broken else LABEL, text(name)))
    yield core
    route, query = (
        iri(names.ids.operation(names.slug, name, kind, "GET /things")) for kind in ("http", "db")
    )
    dataset = names.dataset(chosen.randrange(SHARED, SHARED + 20))
    yield [
        (service, iri(Fo.performs), query),
        (query, TYPE, iri(Fo.DatabaseOperation)),
        (query, LABEL, text("SELECT things")),
        (query, iri(Fo.reads), dataset),
    ]
    yield [
        (service, iri(Fo.offers), route),
        (route, TYPE, iri(Fo.HttpRoute)),
        (route, LABEL, text("GET /things")),
        (route, iri(Fo.httpMethod), text("GET")),
        (route, iri(Fo.route), text("/things")),
        (route, IN_PROJECT, names.own),
    ]
    own = iri(names.ids.dataset("postgresql", f"db0.{names.slug}", "main", name))
    yield [
        (own, TYPE, iri(Fo.Dataset)),
        (own, LABEL, text(name)),
        (own, iri(Fo.storedIn), names.store(0)),
        (own, iri(Fo.derivedFrom), dataset),
    ]
    callees = chosen.sample(range(SERVICES), 3)
    for callee in callees:
        yield [(service, iri(Fo.calls), names.service(callee))]
    for number, callee in enumerate(callees):
        yield [
            *((iri(names.ids.dependency(names.slug, name, str(number))), *rest) for rest in (
                (TYPE, iri(Fo.Dependency)),
                (iri(Fo.caller), service),
                (iri(Fo.callee), names.service(callee)),
                (iri(Fo.via), names.route(callee, chosen.randrange(ROUTES))),
            ))
        ]  # fmt: skip
    for number in range(3):
        yield [(service, iri(Skos.altLabel), text(f"{name}, also {number}"))]


# --- changes of what is there

Edit = tuple[list[Placed], list[Placed]]
"""Additions and removals."""


def _update(
    project: Project,
    count: int,
    chosen: random.Random,
    broken: bool,
    additions: set[Placed],
    removals: set[Placed],
) -> None:
    left, route = count, ""
    if broken:
        # The service that offers the route, which the change doesn't mention, is what breaks.
        route = project.names.route(chosen.randrange(SERVICES), 1)
        removals.add((route, TYPE, iri(Fo.HttpRoute), project.names.graph))
        left -= 1
    nodes = sorted(_about(project).items())
    chosen.shuffle(nodes)
    for node, known in nodes:
        if not left:
            break
        if node == route:
            continue
        added, removed = _edit(project, node, known, chosen)
        if 0 < len(added) + len(removed) <= left:
            left -= len(added) + len(removed)
            additions.update(added)
            removals.update(removed)
        elif added and left == 1:
            other = (node, iri(Skos.altLabel), text("another name"), project.names.graph)
            additions.add(other)
            left = 0


Known = dict[str, list[str]]


def _about(project: Project) -> dict[str, Known]:
    """What the project's graph says of each node, less what another graph says too."""
    shared = {project.before.dataset(number) for number in range(SHARED)}
    shared |= {project.names.dataset(number) for number in range(SHARED)}
    found: dict[str, Known] = {}
    for subject, predicate, value in project.lineage:
        if subject not in shared:
            found.setdefault(subject, {}).setdefault(predicate, []).append(value)
    return found


def _edit(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    """One way to change a node of this kind; of some kinds there is none."""
    kind = known[TYPE][0]
    if kind == iri(Fo.HttpRoute) and chosen.random() < 0.08:
        # Whoever refers to the route has to be looked at again.
        return _replaced(project, node, TYPE, kind, iri(Fo.RpcMethod))
    if LABEL in known and chosen.random() < 0.4:
        label = known[LABEL][0]
        return _replaced(project, node, LABEL, label, text(f"{label[1:-1]}, renamed"))
    edit = _EDITS.get(kind)
    return edit(project, node, known, chosen) if edit else ([], [])


def _replaced(project: Project, node: str, predicate: str, old: str, new: str) -> Edit:
    graph = project.names.graph
    return [(node, predicate, new, graph)], [(node, predicate, old, graph)]


def _service(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    if chosen.random() < 0.5:
        kept, left = project.organisation.environments
        return [], [(node, iri(Fo.runsIn), chosen.choice((kept, left)), project.names.graph)]
    called = known[iri(Fo.calls)]
    callees = (project.names.service(number) for number in range(SERVICES))
    free = [callee for callee in callees if callee != node and callee not in called]
    return _replaced(project, node, iri(Fo.calls), chosen.choice(called), chosen.choice(free))


def _route(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    return _replaced(project, node, iri(Fo.httpMethod), known[iri(Fo.httpMethod)][0], text("PATCH"))


def _query(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    read = known[iri(Fo.reads)]
    free = [
        dataset
        for dataset in map(project.names.dataset, range(SHARED, SHARED + 20))
        if dataset not in read
    ]
    return _replaced(project, node, iri(Fo.reads), read[0], chosen.choice(free))


def _dataset(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    stored = known[iri(Fo.storedIn)][0]
    free = [store for store in map(project.names.store, range(STORES)) if store != stored]
    return _replaced(project, node, iri(Fo.storedIn), stored, chosen.choice(free))


def _dependency(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    callee = known[iri(Fo.callee)][0]
    others = [project.names.service(number) for number in range(SERVICES)]
    free = [other for other in others if other not in (callee, known[iri(Fo.caller)][0])]
    return _replaced(project, node, iri(Fo.callee), callee, chosen.choice(free))


def _release(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    revision = text(f"{chosen.getrandbits(96):024x}")
    return _replaced(project, node, iri(Fo.revision), known[iri(Fo.revision)][0], revision)


def _run(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    ended = typed("2026-11-22T23:00:00Z", Xsd.dateTime)
    return [(node, iri(Prov.endedAtTime), ended, project.names.graph)], []


def _issue(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    affected = known[iri(Fo.affects)][0]
    service = project.names.service(chosen.randrange(SERVICES))
    return _replaced(project, node, iri(Fo.affects), affected, service)


def _page(project: Project, node: str, known: Known, chosen: random.Random) -> Edit:
    path = known[iri(Fo.path)][0]
    return _replaced(project, node, iri(Fo.path), path, text(f"{path[1:-1]}/{{id}}"))


_EDITS: dict[str, Callable[[Project, str, Known, random.Random], Edit]] = {
    iri(Fo.Service): _service,
    iri(Fo.HttpRoute): _route,
    iri(Fo.DatabaseOperation): _query,
    iri(Fo.Dataset): _dataset,
    iri(Fo.Dependency): _dependency,
    iri(Fo.Release): _release,
    iri(Fo.Run): _run,
    iri(Fo.ErrorIssue): _issue,
    iri(Fo.Page): _page,
}
