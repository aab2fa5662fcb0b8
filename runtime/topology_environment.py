"""The environment variables that a topology becomes, and how an environment differs from them.

Invariant: names and values follow from the topology alone; two things never share a name. Every
value is an address, a path, a name or a reference, made of characters that mean the same to a
shell, to ``docker --env-file`` and to systemd, so nothing is quoted. Values that an environment has
are compared and never shown: one of them may be a secret where a reference belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ontology.ids import Ids
from runtime.assets import IntegrationEndpoint, RuntimeAsset
from runtime.errors import TopologyError
from runtime.topology import Topology
from runtime.urls import Url

PREFIXES: Final = ("FRACTALOPS_ASSET_", "FRACTALOPS_ENDPOINT_", "FRACTALOPS_ROLE_")
TOPOLOGY: Final = "FRACTALOPS_TOPOLOGY"
MAX_BYTES: Final = 1024 * 1024

_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """How an environment differs in one variable."""

    name: str
    how: Literal["missing", "different", "not declared"]


def variables(topology: Topology, ids: Ids, environment: str | None = None) -> dict[str, str]:
    """Names and values, sorted by name. With an ``environment`` (its name), of what belongs to it
    or to none. Raises :class:`TopologyError` for two things whose names differ in punctuation."""
    chosen = ("", ids.environment(environment)) if environment else None
    assets = [a for a in topology.assets if chosen is None or a.environment in chosen]
    endpoints = [e for e in topology.endpoints if chosen is None or e.environment in chosen]
    found: dict[str, tuple[str, str]] = {TOPOLOGY: (topology.name, "")}
    for name, value, of in (
        *(item for asset in assets for item in _of_asset(asset)),
        *(item for endpoint in endpoints for item in _of_endpoint(endpoint)),
        *_of_roles(assets),
    ):
        other = found.setdefault(name, (value, of))[1]
        if other != of:
            raise TopologyError(
                [f"{of} and {other} would both be {name}: their names differ in punctuation only"]
            )
    return {name: value for name, (value, _) in sorted(found.items())}


def render(found: Mapping[str, str]) -> str:
    """The file: one ``NAME=value`` a line."""
    return "".join(f"{name}={value}\n" for name, value in found.items())


def read_environment(data: bytes) -> dict[str, str]:
    """The variables of an environment file: ``NAME=value`` lines, perhaps with ``export`` and
    quotes, comments and empty lines. Raises :class:`TopologyError` with the line."""
    if len(data) > MAX_BYTES:
        raise TopologyError([f"the environment file has more than {MAX_BYTES} bytes"])
    found = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise TopologyError([f"line {number} of the environment file is not NAME=value"])
        value = match[2].strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1]] = value
    return found


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[Difference]:
    """How ``found`` differs, sorted by name; variables of other names don't count."""
    named = {name for name in found if name.startswith(PREFIXES)}
    differing = [
        Difference(name, "missing" if name not in found else "different")
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    return sorted([*differing, *(Difference(n, "not declared") for n in named - wanted.keys())])


def _of_asset(asset: RuntimeAsset) -> Iterator[tuple[str, str, str]]:
    stem, of = f"FRACTALOPS_ASSET_{_upper(asset.asset_id)}", f"the asset {asset.asset_id}"
    executor = () if asset.executor is None else (asset.executor,)
    yield f"{stem}_ID", asset.asset_id, of
    yield from _urls(f"{stem}_PUBLIC_URL", asset.public, of)
    yield from _urls(f"{stem}_EXECUTOR_URL", executor, of)
    yield from _urls(f"{stem}_INTERNAL_URL", asset.internal, of)


def _of_endpoint(endpoint: IntegrationEndpoint) -> Iterator[tuple[str, str, str]]:
    name = endpoint.endpoint_id
    stem, of = f"FRACTALOPS_ENDPOINT_{_upper(name)}", f"the endpoint {name}"
    yield from _urls(f"{stem}_PUBLIC_URL", endpoint.public, of)
    yield from _urls(f"{stem}_INTERNAL_URL", endpoint.internal, of)
    yield f"{stem}_READINESS_PATH", endpoint.readiness_path, of
    yield f"{stem}_AUTH_SCHEME", endpoint.authentication.scheme, of
    if endpoint.authentication.reference:
        yield f"{stem}_AUTH_REFERENCE", endpoint.authentication.reference, of


def _of_roles(assets: Iterable[RuntimeAsset]) -> Iterator[tuple[str, str, str]]:
    """A role that one asset has leads to it; one that several have leads nowhere."""
    holders: dict[str, list[str]] = {}
    for asset in assets:
        for role in asset.roles:
            holders.setdefault(role, []).append(asset.asset_id)
    for role, ids in holders.items():
        if len(ids) == 1:
            yield f"FRACTALOPS_ROLE_{_upper(role)}_ASSET_ID", ids[0], f"the role {role}"


def _urls(name: str, urls: Iterable[Url], of: str) -> Iterator[tuple[str, str, str]]:
    for number, url in enumerate(urls, start=1):
        yield (name if number == 1 else f"{name}_{number}"), url.address, of


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
