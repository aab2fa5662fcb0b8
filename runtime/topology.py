"""The topology: the runtime assets, roles and integration endpoints that a file declares.

Invariant: a topology is read whole or refused whole, with everything that is wrong with it, each
fault with its line; what is read needs no look at the graph. Two readings of a file are equal, and
every IRI follows from the names in it. It holds references to secrets and no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from ontology.ids import Ids
from ontology.vocab import Fo
from runtime.assets import (
    AssetRole,
    Authentication,
    IntegrationEndpoint,
    Locators,
    RuntimeAsset,
)
from runtime.errors import TopologyError, UrlError
from runtime.permitted_actions import (
    DEEPER,
    FURTHER,
    PermittedAction,
    PermittedCommand,
    PermittedRequest,
)
from runtime.topology_file import AssetBody, EndpointBody, ThingBody, TopologyBody
from runtime.topology_text import Place, Text, read_text
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl, Url

_OBSERVED = {"services": Fo.hosts, "capabilities": Fo.capability}
_Url = TypeVar("_Url", bound=Url)


@dataclass(frozen=True, slots=True)
class Topology:
    """What a file declares; ``places`` says where each thing stands, by its IRI. ``silent`` holds
    the assets (IRIs) with the terms that it says nothing of and that are observed then."""

    name: str
    assets: tuple[RuntimeAsset, ...]
    endpoints: tuple[IntegrationEndpoint, ...]
    roles: tuple[AssetRole, ...]
    environments: tuple[str, ...]
    text: Text = field(compare=False, repr=False)
    places: dict[str, Place] = field(compare=False, repr=False)
    silent: frozenset[tuple[str, str]] = frozenset()


def read_topology(data: bytes, ids: Ids) -> Topology:
    """The topology that these bytes of YAML declare. Raises :class:`TopologyError`."""
    text = read_text(data)
    try:
        file = TopologyBody.model_validate(text.value)
    except ValidationError as error:
        raise TopologyError(list(_faults(text, error))) from None
    return _Maker(text, ids, file).made()


class _Maker:
    """Makes the declared things of what was read, and notes what can't be."""

    def __init__(self, text: Text, ids: Ids, file: TopologyBody) -> None:
        self._text = text
        self._ids = ids
        self._file = file
        self._faults: list[str] = []
        self._places: dict[str, Place] = {}

    def made(self) -> Topology:
        file = self._file
        assets = [self._asset(asset, ("assets", n)) for n, asset in enumerate(file.assets)]
        endpoints = [self._endpoint(e, ("endpoints", n)) for n, e in enumerate(file.endpoints)]
        self._unique("assets", file.assets)
        self._unique("endpoints", file.endpoints)
        if self._faults:
            raise TopologyError(self._faults)
        for name in file.roles:
            self._places[self._ids.asset_role(name)] = ("roles", name)
        things: Iterable[ThingBody] = (*file.assets, *file.endpoints)
        return Topology(
            file.topology,
            tuple(assets),
            tuple(endpoints),
            tuple(AssetRole(n, role.exclusive, file.topology) for n, role in file.roles.items()),
            tuple(sorted({thing.environment for thing in things if thing.environment})),
            self._text,
            self._places,
            frozenset(
                (self._ids.runtime_asset(asset.id), term)
                for asset in file.assets
                for key, term in _OBSERVED.items()
                if key not in asset.model_fields_set
            ),
        )

    def _asset(self, body: AssetBody, place: Place) -> RuntimeAsset:
        urls = (*place, "urls")
        executor = self._urls(ExecutorUrl, [body.urls.executor or ""], (*urls, "executor"))
        self._places.setdefault(self._ids.runtime_asset(body.id), place)
        if body.services and body.project is None:
            self._fault((*place, "services"), "services belong to a project: say which")
        return RuntimeAsset(
            asset_id=body.id,
            kind=body.kind,
            owner=self._owner(body, place),
            locators=Locators(**body.locators.model_dump()),
            label=body.label,
            roles=_set(body.roles),
            project=self._ids.project(body.project) if body.project else "",
            environment=self._ids.environment(body.environment) if body.environment else "",
            capabilities=_set(body.capabilities),
            permits=tuple(self._permits(body, place)),
            public=self._urls(PublicUrl, body.urls.public, (*urls, "public")),
            executor=executor[0] if executor else None,
            internal=self._urls(InternalUrl, body.urls.internal, (*urls, "internal")),
            hosts=_set(self._ids.service(body.project, s) for s in body.services if s)
            if body.project
            else (),
            declared_in=self._file.topology,
        )

    def _endpoint(self, body: EndpointBody, place: Place) -> IntegrationEndpoint:
        urls = (*place, "urls")
        self._places.setdefault(self._ids.integration_endpoint(body.id), place)
        return IntegrationEndpoint(
            endpoint_id=body.id,
            owner=self._owner(body, place),
            readiness_path=body.readiness,
            authentication=Authentication(body.auth.scheme, body.auth.reference),
            label=body.label,
            product=body.product,
            project=self._ids.project(body.project) if body.project else "",
            environment=self._ids.environment(body.environment) if body.environment else "",
            public=self._urls(PublicUrl, body.urls.public, (*urls, "public")),
            internal=self._urls(InternalUrl, body.urls.internal, (*urls, "internal")),
            declared_in=self._file.topology,
        )

    def _owner(self, body: ThingBody, place: Place) -> str:
        owner = body.owner or self._file.owner
        if owner is None:
            self._fault(
                place, "it has no owner: say organisation/SLUG or principal/SLUG, here or for all"
            )
            return ""
        kind, _, slug = owner.partition("/")
        return self._ids.organisation(slug) if kind == "organisation" else self._ids.principal(slug)

    def _urls(self, kind: type[_Url], texts: Iterable[str], place: Place) -> tuple[_Url, ...]:
        found = set()
        for text in filter(None, texts):
            try:
                url = kind.parse(text)
            except UrlError as error:
                self._fault(place, f"no {kind.kind} URL: {error}")
                continue
            self._places.setdefault(self._ids.url(url.address), place)
            found.add(url)
        return tuple(sorted(found, key=lambda url: url.address))

    def _permits(self, body: AssetBody, place: Place) -> Iterator[PermittedAction]:
        found: set[PermittedCommand] = set()
        asked: set[PermittedRequest] = set()
        for number, permit in enumerate(body.permits):
            here = (*place, "permits", number)
            if permit.argv is not None and permit.methods is None and permit.path is None:
                if fault := _argv_fault(permit.argv):
                    self._fault((*here, "argv"), fault)
                found.add(PermittedCommand(tuple(permit.argv), permit.effect))
            elif permit.argv is None and permit.methods is not None and permit.path is not None:
                if fault := _path_fault(permit.path):
                    self._fault((*here, "path"), fault)
                methods = tuple(sorted(set(permit.methods)))
                asked.add(PermittedRequest(methods, permit.path, permit.effect))
            else:
                self._fault(here, "say argv for a command, or methods and path for a request")
        yield from sorted(found)
        yield from sorted(asked)

    def _unique(self, kind: str, bodies: Iterable[ThingBody]) -> None:
        first: dict[str, int] = {}
        for number, body in enumerate(bodies):
            if first.setdefault(body.id, number) != number:
                line = self._text.lines[(kind, first[body.id])]
                self._fault((kind, number, "id"), f"{body.id!r} is declared in line {line} too")

    def _fault(self, place: Place, fault: str) -> None:
        self._faults.append(self._text.at(place, fault))


def _argv_fault(argv: list[str]) -> str:
    program, *others = argv
    if not program or set(program) & set("*?["):
        return "the program, the first argument, is spelled out"
    if FURTHER in others[:-1]:
        return "three dots stand for further arguments, and so at the end"
    if any("\0" in argument for argument in argv):
        return "no argument can hold NUL"
    return ""


def _path_fault(path: str) -> str:
    segments = path.split("/")
    if segments[0] or len(segments) < 2 or set(path) & set("?#\\") or not path.isprintable():
        return "a path begins with a slash and has no query, fragment or backslash"
    if any(DEEPER in segment for segment in segments[:-1]) or (
        DEEPER in segments[-1] and segments[-1] != DEEPER
    ):
        return "two stars stand for further segments, and so are the last one alone"
    return ""


def _set(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


_SAID: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda error: "it is missing",
    "extra_forbidden": lambda error: "nothing of this name is known here",
    "string_type": lambda error: "it must be a text; put it in quotes",
}


def _faults(text: Text, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        place: Place = tuple(step for step in fault["loc"] if step != "[key]")
        said = _SAID.get(fault["type"])
        # What was given may be a secret that doesn't belong here, and is not repeated.
        yield text.at(place, said(dict(fault)) if said else fault["msg"])
