"""Says every kind of entity in DataHub's terms.

Invariant: what is said of an entity follows from the entity, from the few that all refer to
(projects, principals, classes, shapes) and from the recipe; the same again says the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator

from datahub.ingestion.api.workunit import MetadataWorkUnit

from fractalops_datahub.catalog import Item
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.datasets import Datasets
from fractalops_datahub.flows import Flows
from fractalops_datahub.governance import Governance
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import Names
from fractalops_datahub.proof import Common

SMALL = ("project", "principal", "term", "shape")
"""Kinds that are few, and that the others refer to."""

LARGE = ("service", "dataset", "topic", "job", "operation", "error-issue")


class Speaker:
    """Says entities in DataHub's terms; holds the few that the others refer to."""

    def __init__(self, config: FractalOpsConfig, few: list[Item], kept: Kept) -> None:
        self._config = config
        self._few = few
        names = Names(config)
        self._stewards, self._shapes = _stewards(few), _shapes(few)
        common = Common(config, names, self._stewards)
        self._governance = Governance(config, names, kept)
        datasets = Datasets(names, common, self._shapes, assertions=config.assertions)
        flows = self._flows = Flows(names, common, kept, config.env)
        self._by_kind: dict[str, Callable[[Item], Iterator[MetadataWorkUnit]]] = {
            "project": self._governance.project,
            "principal": self._governance.principal,
            "service": flows.service,
            "dataset": datasets.of,
            "topic": datasets.of,
            "job": flows.job,
            "operation": flows.operation,
        }
        if config.incidents:
            self._by_kind["error-issue"] = flows.issue
        if config.glossary:
            self._by_kind["term"] = self._governance.term

    def glossary(self) -> Iterator[MetadataWorkUnit]:
        """What holds the terms."""
        if self._config.glossary:
            yield from self._governance.glossary()

    def small(self) -> Iterator[Item]:
        """The few entities that all refer to."""
        for item in self._few:
            slug = item["id"].rpartition("/")[2]
            if item["kind"] != "project" or self._config.projects.allowed(slug):
                yield item

    def wants(self, item: Item) -> bool:
        """Whether the recipe chose a project that speaks of this entity."""
        return any(self._config.projects.allowed(it) for it in item["projects"])

    def say(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """The metadata of one entity, where what it shares with the one before is said already."""
        speak = self._by_kind.get(item["kind"])
        if speak is not None:
            yield from speak(item)

    def basis(self, item: Item) -> str:
        """All that what is said of an entity follows from, beside the recipe, as text."""
        stewards = [self._stewards.get(slug) for slug in item["projects"]]
        return json.dumps([item, stewards, self._shapes.get(item["class"])], sort_keys=True)

    def alone(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """All metadata that one entity brings along."""
        self._flows.begin()
        yield from self.say(item)


def recipe(config: FractalOpsConfig) -> str:
    """What tells one recipe from another, as far as what is emitted goes."""
    unsaid = {"token", "stateful_ingestion", "page_size", "timeout"}
    if config.public_url is not None:
        # Of the address, links alone tell, and then they have another one.
        unsaid.add("server")
    return hashlib.sha256(config.model_dump_json(exclude=unsaid).encode()).hexdigest()


def _stewards(few: Iterable[Item]) -> dict[str, list[str]]:
    """The stewards of each project, by its slug."""
    found: dict[str, list[str]] = {}
    for item in few:
        for project in item["links"].get("stewardOf", ()):
            found.setdefault(project.rpartition("/")[2], []).append(item["id"])
    return found


def _shapes(few: Iterable[Item]) -> dict[str, list[str]]:
    """The shapes that hold for each class, for its own sake or for a wider class's."""
    few = list(few)
    wider = {item["id"]: item["links"].get("rdfs:subClassOf", []) for item in few}
    target: dict[str, list[str]] = {}
    for item in few:
        for name in item["links"].get("sh:targetClass", ()):
            target.setdefault(name, []).append(item["id"])
    found: dict[str, list[str]] = {}
    for name in wider:
        reached, waiting = {name}, [name]
        while waiting:
            for above in wider.get(waiting.pop(), ()):
                if above not in reached:
                    reached.add(above)
                    waiting.append(above)
        found[name] = sorted({shape for it in reached for shape in target.get(it, ())})
    return found
