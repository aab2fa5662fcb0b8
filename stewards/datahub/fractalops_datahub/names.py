"""The URN of everything the graph has an IRI for.

Invariant: a URN is a pure function of the IRI and the recipe, so that the two ends of an edge meet
whichever is read first; and a table or a topic has the URN that DataHub's own source for its
platform gives it, as far as the platform's naming goes.
Source: https://docs.datahub.com/docs/what/urn
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from datahub.emitter import mce_builder

from fractalops_datahub.config import FractalOpsConfig

PLATFORM = "fractalops"
ACTOR = f"urn:li:corpuser:{PLATFORM}"
NAMESPACE = "https://w3id.org/fractalops/ns#"
MOST = 480
"""Characters of a URN; DataHub keeps it in a column of 500."""

_PLATFORMS = {
    "postgresql": "postgres",
    "microsoft.sql_server": "mssql",
    "oracle.db": "oracle",
    "aws.redshift": "redshift",
    "aws.glue": "glue",
    "aws.athena": "athena",
    "aws.dynamodb": "dynamodb",
    "gcp.bigquery": "bigquery",
    "gcp.spanner": "spanner",
    "gcp_pubsub": "pubsub",
    "azure.cosmosdb": "cosmosdb",
    "azure.kusto": "kusto",
    "ibm.db2": "db2",
    "sap.hana": "hana",
    "gs": "gcs",
    "abfss": "abs",
    "wasbs": "abs",
    "unitycatalog": "databricks",
    "h2database": "h2",
}
# The schema that a plain name means; the graph leaves it out, DataHub's sources don't.
_SCHEMAS = {
    "postgresql": "public",
    "cockroachdb": "public",
    "aws.redshift": "public",
    "microsoft.sql_server": "dbo",
    "snowflake": "PUBLIC",
}
_LOWER = frozenset({"snowflake"})
_BUCKETS = frozenset({"s3", "gs", "abfss", "wasbs"})
# DataHub names these by schema and table, or by the name alone.
_WITHOUT_NAMESPACE = frozenset({"oracle.db", "elasticsearch", "redis"})


@dataclass(frozen=True)
class Asset:
    """A dataset or a topic as DataHub knows it."""

    urn: str
    platform: str
    instance: str | None
    primary: bool


class Names:
    """Makes URNs by one recipe."""

    def __init__(self, config: FractalOpsConfig) -> None:
        self._config = config
        self.asset = lru_cache(maxsize=4096)(self._asset)

    def _asset(self, iri: str) -> Asset:
        """The dataset or topic with this IRI."""
        kind, *key = _key(iri)
        if kind == "topic":
            system, address, name = key
            namespace = ""
        else:
            system, address, namespace, name = key
        return self._named(system, address, namespace, name)

    def column(self, iri: str) -> tuple[str, str]:
        """The asset's IRI and the name of the column with this IRI."""
        _, kind, system, address, namespace, asset, name = _raw_key(iri)
        start = iri.partition("/id/")[0]
        middle = (
            (system, address, asset) if kind == "topic" else (system, address, namespace, asset)
        )
        return f"{start}/id/{kind}/{'/'.join(middle)}", unquote(name)

    def flow(self, iri: str) -> str:
        """The data flow of a service or of a job's namespace, by the IRI of service or job."""
        kind, project, name, *_ = _key(iri)
        return self._flow(project, kind, name)

    def job(self, iri: str) -> str:
        """The data job of an operation or a job."""
        kind, project, holder, *key = _key(iri)
        flow = self._flow(project, "service" if kind == "operation" else kind, holder)
        return _short(
            lambda name: mce_builder.make_data_job_urn_with_flow(flow, name), ".".join(key)
        )

    def domain(self, project: str) -> str:
        return mce_builder.make_domain_urn(f"{PLATFORM}.{project}")

    def term(self, iri: str) -> str:
        """The glossary term of one of our classes."""
        return mce_builder.make_term_urn(f"{PLATFORM}.{iri.removeprefix(NAMESPACE)}")

    def owner(self, iri: str) -> str:
        """The user that a principal is in DataHub."""
        slug = _key(iri)[-1]
        return mce_builder.make_user_urn(self._config.principals.get(slug, slug))

    def incident(self, iri: str) -> str:
        return f"urn:li:incident:{mce_builder.datahub_guid({'platform': PLATFORM, 'issue': iri})}"

    def assertion(self, urn: str, shape: str) -> str:
        key = {"platform": PLATFORM, "entity": urn, "shape": shape}
        return mce_builder.make_assertion_urn(mce_builder.datahub_guid(key))

    def affected(self, iri: str) -> str | None:
        """What an incident is raised on, by the IRI of what it affects; ``None`` for a feature."""
        kind = _key(iri)[0]
        if kind == "service":
            return self.flow(iri)
        if kind in ("operation", "job"):
            return self.job(iri)
        return None

    def _flow(self, project: str, kind: str, name: str) -> str:
        config = self._config
        return _short(
            lambda flow: mce_builder.make_data_flow_urn(
                PLATFORM, flow, config.env, config.platform_instance
            ),
            f"{project}.{kind}.{name or 'default'}",
        )

    def _named(self, system: str, address: str, namespace: str, name: str) -> Asset:
        mapping = self._config.store(system, address)
        platform = mapping.platform or _PLATFORMS.get(system, system)
        instance = mapping.platform_instance
        if instance is None and address.startswith("project:"):
            # Two projects may each have a store of this name.
            instance = address.removeprefix("project:")
        full = _full_name(system, address, namespace, name)
        if mapping.lowercase if mapping.lowercase is not None else system in _LOWER:
            full = full.lower()
        urn = _short(
            lambda it: mce_builder.make_dataset_urn_with_platform_instance(
                platform, it, instance, mapping.env or self._config.env
            ),
            full,
        )
        return Asset(urn, platform, instance, mapping.primary)


def _full_name(system: str, address: str, namespace: str, name: str) -> str:
    if system in _BUCKETS:
        return f"{address}/{name}"
    schema = _SCHEMAS.get(system)
    if schema is not None and "." not in name:
        name = f"{schema}.{name}"
    if not namespace or system in _WITHOUT_NAMESPACE:
        return name
    return f"{namespace}.{name}"


def _short(make: Callable[[str], str], name: str) -> str:
    """The URN of this name, or of its digest where it would be too long for DataHub."""
    urn = make(name)
    return urn if len(urn) <= MOST else make(mce_builder.datahub_guid({"name": name}))


def _raw_key(iri: str) -> list[str]:
    return iri.partition("/id/")[2].split("/")


def _key(iri: str) -> list[str]:
    """Kind and key of an IRI; an empty part of a key stands as a hyphen."""
    kind, *key = (unquote(part) for part in _raw_key(iri))
    return [kind, *("" if part == "-" else part for part in key)]
