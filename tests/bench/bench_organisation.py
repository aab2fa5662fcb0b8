"""An organisation's graph of any size, in the platform's own vocabulary, for measuring the gate.

Invariant: a pure function of the seed and the number of projects. Every project is a function of
its own number, so that any part of a graph of millions is made again without the rest; the shipped
shapes hold on the whole. Some nodes are shared by all and grow with the graph, as in life: two
environments that every service runs in, and front projects that the others call most.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ontology.ids import Ids
from ontology.vocab import Fo, Prov, Rdf, Rdfs, Skos, Xsd

SEED = 20261122
SERVICES = 60
"""Services of one project; ``PROJECT_TRIPLES`` is what a project comes to, about."""
PROJECT_TRIPLES = 7_900

ROUTES, QUERIES, HTTP_CALLS, CALLS = 5, 3, 2, 3
STORES, DATASETS, TOPICS, JOBS, RUNS, FEATURES, ASSETS = 3, 40, 10, 12, 3, 12, 12
SHARED = 4
"""Datasets of a project, counted from the first, that the next project describes too."""
ENVIRONMENTS = ("production", "staging")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_NOUNS = ("orders", "products", "customers", "invoices", "shipments", "payments", "carts", "stock")
_SYSTEMS = ("postgresql", "mysql", "clickhouse")

Triple = tuple[str, str, str]
"""Subject, predicate and object in N-Triples form."""
Placed = tuple[str, str, str, str]
"""The same, and the IRI of its named graph in N-Triples form."""


def iri(value: str) -> str:
    return f"<{value}>"


def text(value: str) -> str:
    """A plain literal; ``value`` holds nothing that would need an escape."""
    return f'"{value}"'


def typed(value: str, datatype: str) -> str:
    return f'"{value}"^^<{datatype}>'


TYPE, LABEL, NOTATION = iri(Rdf.type), iri(Rdfs.label), iri(Skos.notation)
IN_PROJECT = iri(Fo.inProject)


def slug_of(project: int) -> str:
    return f"project-{project:04d}"


@dataclass(frozen=True)
class Names:
    """The IRIs of one project's things, each a function of its number, in N-Triples form."""

    ids: Ids
    project: int

    @property
    def slug(self) -> str:
        return slug_of(self.project)

    @property
    def own(self) -> str:
        return iri(self.ids.project(self.slug))

    @property
    def graph(self) -> str:
        return iri(self.ids.lineage_graph(self.slug))

    def service_name(self, number: int) -> str:
        return f"{_NOUNS[number % len(_NOUNS)]}-{number:02d}"

    def service(self, number: int) -> str:
        return iri(self.ids.service(self.slug, self.service_name(number)))

    def route_name(self, service: int, number: int) -> str:
        noun = _NOUNS[(service + number) % len(_NOUNS)]
        return f"{_METHODS[number % len(_METHODS)]} /{noun}/{number}/{{id}}"

    def operation(self, service: int, kind: str, name: str) -> str:
        return iri(self.ids.operation(self.slug, self.service_name(service), kind, name))

    def route(self, service: int, number: int) -> str:
        return self.operation(service, "http", self.route_name(service, number))

    def store(self, number: int) -> str:
        system = _SYSTEMS[number % len(_SYSTEMS)]
        return iri(self.ids.data_store(system, f"db{number}.{self.slug}", "main"))

    def dataset(self, number: int) -> str:
        store = number % STORES
        system = _SYSTEMS[store % len(_SYSTEMS)]
        address = f"db{store}.{self.slug}"
        return iri(self.ids.dataset(system, address, "main", self.dataset_name(number)))

    def dataset_name(self, number: int) -> str:
        return f"{_NOUNS[number % len(_NOUNS)]}_{number}"

    def topic(self, number: int) -> str:
        return iri(self.ids.topic("kafka", "events", f"{self.slug}.topic-{number}"))

    def release(self, service: int, number: int) -> str:
        name = f"{self.slug}/{self.service_name(service)}"
        return iri(self.ids.release(name, f"1.{number}.0"))

    def thing(self, kind: str, *key: str | int) -> str:
        """Something of a kind that :class:`ontology.ids.Ids` has no method for."""
        return iri(self.ids.instance(kind, self.slug, *map(str, key)))


class Organisation:
    """So many projects, and the graphs they are described in."""

    def __init__(self, ids: Ids, projects: int, seed: int = SEED) -> None:
        self.ids = ids
        self.projects = projects
        self.seed = seed
        self.environments = [iri(ids.environment(name)) for name in ENVIRONMENTS]
        self.assets = iri(ids.graph("assets"))

    @classmethod
    def of_about(cls, ids: Ids, triples: int) -> Organisation:
        return cls(ids, max(2, round(triples / PROJECT_TRIPLES)))

    def quads(self) -> Iterator[Placed]:
        """Every quad of lineage and assets, once; a few triples are stated in two graphs."""
        yield from self._environments()
        for number in range(self.projects):
            yield from Project(self, number).quads()

    def other(self, chosen: random.Random, but: int) -> int:
        """Another project; those with low numbers are chosen more often."""
        found = int(self.projects * chosen.random() ** 3)
        return found if found != but else (found + 1) % self.projects

    def _environments(self) -> Iterator[Placed]:
        # Said in the first project's graph; saying it once is enough.
        graph = Names(self.ids, 0).graph
        for environment, name in zip(self.environments, ENVIRONMENTS, strict=True):
            yield (*(environment, TYPE, iri(Fo.DeploymentEnvironment)), graph)
            yield (*(environment, LABEL, text(name)), graph)
            yield (*(environment, NOTATION, text(name)), graph)


class Project:
    """What is known of one project."""

    def __init__(self, organisation: Organisation, number: int) -> None:
        self.organisation = organisation
        self.names = Names(organisation.ids, number)
        self.before = Names(organisation.ids, (number - 1) % organisation.projects)
        self._chosen = random.Random(f"{organisation.seed}/{number}")

    def quads(self) -> Iterator[Placed]:
        graph, assets = self.names.graph, self.organisation.assets
        for triple in self.lineage:
            yield (*triple, graph)
        for triple in self._runtime():
            yield (*triple, assets)

    @cached_property
    def lineage(self) -> list[Triple]:
        """Everything in the project's lineage graph."""
        parts: Iterable[Iterator[Triple]] = (
            self._data(),
            *(self._service(number) for number in range(SERVICES)),
            self._jobs(),
            self._product(),
        )
        return [triple for part in parts for triple in part]

    def _named(self, node: str, kind: str, name: str) -> Iterator[Triple]:
        yield node, TYPE, iri(kind)
        yield node, LABEL, text(name)
        yield node, NOTATION, text(name)

    def _data(self) -> Iterator[Triple]:
        names = self.names
        for number in range(STORES):
            system = _SYSTEMS[number % len(_SYSTEMS)]
            store = names.store(number)
            yield from self._named(store, Fo.DataStore, f"{system} {number}")
            yield store, iri(Fo.system), text(system)
            yield store, iri(Fo.address), text(f"db{number}.{names.slug}")
        for number in range(DATASETS):
            dataset = names.dataset(number)
            yield from self._named(dataset, Fo.Dataset, names.dataset_name(number))
            yield dataset, iri(Fo.system), text(_SYSTEMS[number % STORES])
            yield dataset, iri(Fo.namespace), text("main")
            yield dataset, iri(Fo.storedIn), names.store(number % STORES)
            if number >= SHARED:
                yield dataset, iri(Fo.derivedFrom), names.dataset(self._chosen.randrange(number))
        for number in range(SHARED):
            theirs, name = self.before.dataset(number), self.before.dataset_name(number)
            yield from self._named(theirs, Fo.Dataset, name)
        for number in range(TOPICS):
            yield from self._named(names.topic(number), Fo.Topic, f"topic-{number}")
            yield names.topic(number), iri(Fo.system), text("kafka")

    def _service(self, number: int) -> Iterator[Triple]:
        names, chosen, name = self.names, self._chosen, self.names.service_name(number)
        service = names.service(number)
        yield from self._named(service, Fo.Service, name)
        yield service, IN_PROJECT, names.own
        for environment in self.organisation.environments:
            yield service, iri(Fo.runsIn), environment
        for version in range(2):
            release = names.release(number, version)
            yield service, iri(Fo.hasRelease), release
            yield release, TYPE, iri(Fo.Release)
            yield release, LABEL, text(f"{name} 1.{version}.0")
            yield release, iri(Fo.version), text(f"1.{version}.0")
            yield release, iri(Fo.revision), text(f"{chosen.getrandbits(64):016x}")
        yield from self._operations(number)
        for callee, route in self._callees(number):
            yield service, iri(Fo.calls), callee
            dependency = names.thing("dependency", name, _tail(callee))
            yield dependency, TYPE, iri(Fo.Dependency)
            yield dependency, iri(Fo.caller), service
            yield dependency, iri(Fo.callee), callee
            yield dependency, iri(Fo.via), route
            yield dependency, IN_PROJECT, names.own
        issue = names.thing("error-issue", name)
        yield from self._named(issue, Fo.ErrorIssue, f"TimeoutError in {name}")
        yield issue, IN_PROJECT, names.own
        yield issue, iri(Fo.affects), names.route(number, 0)
        yield issue, iri(Fo.seenInRelease), names.release(number, 1)
        yield issue, iri(Fo.errorType), text("TimeoutError")

    def _callees(self, caller: int) -> Iterator[tuple[str, str]]:
        """Services it calls, each once and not itself, with a route of each."""
        seen = {self.names.service(caller)}
        while len(seen) <= CALLS:
            names, number = self.names, self._chosen.randrange(SERVICES)
            if self._chosen.random() < 0.2:
                names = Names(names.ids, self.organisation.other(self._chosen, names.project))
            callee = names.service(number)
            if callee not in seen:
                seen.add(callee)
                yield callee, names.route(number, self._chosen.randrange(ROUTES))

    def _operations(self, service: int) -> Iterator[Triple]:
        names, chosen = self.names, self._chosen
        own = names.service(service)
        queries = []
        for number in range(QUERIES):
            query = names.operation(service, "db", f"SELECT {number}")
            queries.append(query)
            yield own, iri(Fo.performs), query
            yield from self._named(query, Fo.DatabaseOperation, f"SELECT {number}")
            yield query, iri(Fo.system), text("postgresql")
            owner = self.before if chosen.random() < 0.1 else names
            dataset = chosen.randrange(SHARED if owner is self.before else DATASETS)
            yield query, iri(Fo.reads), owner.dataset(dataset)
            if number == 0:
                yield query, iri(Fo.writes), names.dataset(chosen.randrange(DATASETS))
        for number in range(ROUTES):
            route, label = names.route(service, number), names.route_name(service, number)
            method, _, path = label.partition(" ")
            yield own, iri(Fo.offers), route
            yield from self._named(route, Fo.HttpRoute, label)
            yield route, iri(Fo.httpMethod), text(method)
            yield route, iri(Fo.route), text(path)
            yield route, IN_PROJECT, names.own
            yield route, iri(Fo.invokes), chosen.choice(queries)
        for number in range(HTTP_CALLS):
            call = names.operation(service, "http-call", f"GET {number}")
            callee = chosen.randrange(SERVICES)
            yield own, iri(Fo.performs), call
            yield from self._named(call, Fo.HttpCall, f"GET {number}")
            yield call, iri(Fo.httpMethod), text("GET")
            yield call, iri(Fo.callsOperation), names.route(callee, chosen.randrange(ROUTES))
        kind, link = (
            (Fo.PublishOperation, Fo.writes) if service % 2 else (Fo.ConsumeOperation, Fo.reads)
        )
        message = names.operation(service, "message", "topic")
        yield own, iri(Fo.performs), message
        yield from self._named(message, kind, "topic")
        yield message, iri(link), names.topic(chosen.randrange(TOPICS))

    def _jobs(self) -> Iterator[Triple]:
        names, chosen = self.names, self._chosen
        for number in range(JOBS):
            job = names.thing("job", number)
            yield from self._named(job, Fo.Job, f"job {number}")
            yield job, IN_PROJECT, names.own
            yield job, iri(Fo.namespace), text("airflow")
            yield job, iri(Fo.reads), names.dataset(chosen.randrange(DATASETS))
            yield job, iri(Fo.writes), names.dataset(chosen.randrange(DATASETS))
            if number:
                yield job, iri(Fo.parentJob), names.thing("job", chosen.randrange(number))
            for which in range(RUNS):
                run = names.thing("run", number, which)
                yield run, TYPE, iri(Fo.Run)
                yield run, iri(Fo.runOf), job
                started = f"2026-11-{1 + which:02d}T{number:02d}:00:00Z"
                yield run, iri(Prov.startedAtTime), typed(started, Xsd.dateTime)

    def _product(self) -> Iterator[Triple]:
        names, chosen = self.names, self._chosen
        for number in range(FEATURES):
            feature, page = names.thing("feature", number), names.thing("page", number)
            event = names.thing("event-type", number)
            for node, kind, name in (
                (page, Fo.Page, f"page {number}"),
                (feature, Fo.Feature, f"feature {number}"),
                (event, Fo.ProductEventType, f"event {number}"),
            ):
                yield from self._named(node, kind, name)
                yield node, IN_PROJECT, names.own
            yield page, iri(Fo.path), text(f"/pages/{number}")
            yield feature, iri(Fo.onPage), page
            route = names.route(chosen.randrange(SERVICES), chosen.randrange(ROUTES))
            yield feature, iri(Fo.reaches), route
            yield event, iri(Fo.concernsFeature), feature
            batch = hashlib.sha256(f"{names.slug}/{number}".encode()).hexdigest()
            evidence = iri(names.ids.evidence(batch))
            yield evidence, TYPE, iri(Fo.EvidenceBatch)
            yield evidence, iri(Fo.digest), text(f"sha256:{batch}")
            received = typed(f"2026-11-22T10:{number:02d}:00Z", Xsd.dateTime)
            yield evidence, iri(Fo.receivedAt), received

    def _runtime(self) -> Iterator[Triple]:
        names = self.names
        owner = names.thing("person", 0)
        yield owner, TYPE, iri(Fo.Person)
        yield owner, iri(Fo.slug), text(f"owner-of-{names.slug}")
        for number in range(ASSETS):
            asset = names.thing("asset", number)
            yield asset, iri(Fo.ownedBy), owner
            yield asset, iri(Fo.assetId), text(f"{names.slug}-{number}")
            yield asset, IN_PROJECT, names.own
            yield asset, iri(Fo.hosts), names.service(number)
            if number % 2:
                yield asset, TYPE, iri(Fo.LxcAsset)
                yield asset, iri(Fo.locatorNode), text(f"node-{number}")
                yield asset, iri(Fo.locatorVmid), typed(str(100 + number), Xsd.integer)
            else:
                yield asset, TYPE, iri(Fo.KubernetesAsset)
                yield asset, iri(Fo.locatorNamespace), text(names.slug)
                yield asset, iri(Fo.locatorWorkload), text(f"deployment/web-{number}")
            address = names.thing("url", number)
            yield asset, iri(Fo.internalUrl), address
            yield address, TYPE, iri(Fo.InternalUrl)
            authority = f"web-{number}.{names.slug}.internal:8080"
            yield address, iri(Fo.url), typed(f"http://{authority}/", Xsd.anyURI)
            yield address, iri(Fo.authority), text(authority)


def _tail(node: str) -> str:
    """What names a node of any project, as one segment of a key."""
    return "/".join(node[1:-1].rsplit("/", 2)[1:])
