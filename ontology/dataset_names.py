"""What names a dataset or a topic, whoever speaks of it.

Invariant: :func:`dataset`, :func:`topic` and :func:`of_openlineage` are pure, and what traces and
OpenLineage call the same thing comes out equal wherever both say enough: one system (by its
OpenTelemetry name), one address (lower case, the system's own port left out), one namespace (the
database), one name (the system's own default schema left out). Nothing is guessed: a name that says
less stays another name.
Source: https://openlineage.io/docs/spec/naming,
https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import basename
from typing import Literal

from ontology.ids import Ids


@dataclass(frozen=True, order=True)
class Store:
    """Where data is kept. ``address`` is ``host`` or ``host:port``, or empty: then the store is
    known within its project only, as an embedded database is."""

    system: str
    address: str
    namespace: str

    def iri(self, ids: Ids, project: str) -> str:
        """The data store, of this project where it has no address of its own."""
        return ids.data_store(self.system, self.place(project), self.namespace)

    def place(self, project: str) -> str:
        """The address, or what stands in its stead within the project."""
        return self.address or f"project:{project}"


@dataclass(frozen=True, order=True)
class DataName:
    """A dataset or a topic by its name within a store."""

    kind: Literal["dataset", "topic"]
    store: Store
    name: str

    def iri(self, ids: Ids, project: str) -> str:
        """The data asset, of this project where its store has no address of its own."""
        place, namespace = self.store.place(project), self.store.namespace
        if self.kind == "topic":
            return ids.topic(self.store.system, place, self.name)
        return ids.dataset(self.store.system, place, namespace, self.name)

    def column(self, ids: Ids, project: str, name: str) -> str:
        """The IRI of the column of this name."""
        store = self.store
        return ids.column(
            self.kind, store.system, store.place(project), store.namespace, self.name, name
        )


# Of OpenTelemetry's older `db.system` values and of OpenLineage's schemes: what differs from
# `db.system.name`. https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/
_SPELLINGS = {
    "mssql": "microsoft.sql_server",
    "sqlserver": "microsoft.sql_server",
    "oracle": "oracle.db",
    "cosmosdb": "azure.cosmosdb",
    "azurecosmos": "azure.cosmosdb",
    "azurekusto": "azure.kusto",
    "dynamodb": "aws.dynamodb",
    "redshift": "aws.redshift",
    "awsathena": "aws.athena",
    "spanner": "gcp.spanner",
    "bigquery": "gcp.bigquery",
    "db2": "ibm.db2",
    "hanadb": "sap.hana",
    "maxdb": "sap.maxdb",
    "h2": "h2database",
    "postgres": "postgresql",
    "cockroach": "cockroachdb",
    "mongo": "mongodb",
    "mongodb+srv": "mongodb",
    "pubsub": "gcp_pubsub",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pulsar+ssl": "pulsar",
    "s3a": "s3",
    "s3n": "s3",
    "abfs": "abfss",
    "wasb": "wasbs",
}

# A server that answers at its system's own port may be named with it or without it.
_OWN_PORTS = {
    "postgresql": "5432",
    "cockroachdb": "26257",
    "mysql": "3306",
    "mariadb": "3306",
    "microsoft.sql_server": "1433",
    "oracle.db": "1521",
    "mongodb": "27017",
    "cassandra": "9042",
    "elasticsearch": "9200",
    "redis": "6379",
    "rabbitmq": "5672",
    "kafka": "9092",
    "pulsar": "6650",
    "activemq": "61616",
    "snowflake": "443",
    "aws.redshift": "5439",
    "ibm.db2": "50000",
    "teradata": "1025",
    "hive": "10000",
    "hdfs": "8020",
}

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})

# These have no server: the namespace is a file, and its folder differs from machine to machine.
_EMBEDDED = frozenset({"sqlite", "duckdb", "h2database", "derby", "hsqldb"})

# There is one of each, whatever host a client reaches it by.
_EVERYWHERE = {"gcp.bigquery": "bigquery.googleapis.com"}

# A full name is database.schema.table; the schema that a plain name means where none is set.
_WITH_SCHEMAS = {
    "postgresql": "public",
    "cockroachdb": "public",
    "aws.redshift": "public",
    "microsoft.sql_server": "dbo",
    "snowflake": "PUBLIC",
    "gcp.bigquery": "",
    "gcp.spanner": "",
    "ibm.db2": "",
    "oracle.db": "",
    "trino": "",
    "crate": "",
    "aws.athena": "",
    "unitycatalog": "",
    "fabric-warehouse": "dbo",
}
# A full name is database.table.
_WITHOUT_SCHEMAS = frozenset({"mysql", "mariadb", "hive", "teradata", "clickhouse", "oceanbase"})
# The same, but a name within the database may hold dots, so that only OpenLineage's is full.
_DOTTED = frozenset({"mongodb", "cassandra", "milvus"})

_FILES = frozenset({"s3", "gs", "abfss", "wasbs", "hdfs", "dbfs", "file"})
# What stands before the @ is a container, and no user.
_CONTAINERS = frozenset({"abfss", "wasbs"})
_BUSES = frozenset({"kafka", "rabbitmq", "pulsar", "activemq", "rocketmq", "nats"})

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{2,3}([^/?#]*)([^?#]*)")
_GLUE = re.compile(r"arn:aws[a-z-]*:glue:[^:]*:[^:]*")
_REDSHIFT_HOST = re.compile(r"([^.]+)\.[^.]+\.([^.]+)\.redshift\.amazonaws\.com")
_SNOWFLAKE_DOMAIN = ".snowflakecomputing.com"


def system_name(said: str) -> str:
    """The system by its ``db.system.name``, from an older spelling or a URL's scheme."""
    said = said.lower()
    return _SPELLINGS.get(said, said)


def store(system: str, address: str, port: str, namespace: str) -> Store:
    """The store that somebody named, by what stays the same wherever it runs.

    ``system`` is a :func:`system_name`.
    """
    address = address.strip()
    if system in _EMBEDDED:
        return Store(system, "", basename(namespace.replace("\\", "/").rstrip("/")))
    if system in _EVERYWHERE:
        return Store(system, _EVERYWHERE[system], namespace)
    if address.lower() in _LOOPBACK or address.startswith("/"):
        # On another machine the same address is another server.
        return Store(system, "", namespace)
    # Host names are the same in any case (RFC 4343).
    address = _host(system, address.lower())
    if address and port and port != _OWN_PORTS.get(system):
        address = f"{address}:{port}"
    return Store(system, address, namespace)


def dataset(holder: Store, name: str) -> DataName:
    """The dataset that a statement in this store calls so."""
    system, namespace = holder.system, holder.namespace
    parts = name.split(".")
    if system in _WITH_SCHEMAS:
        # Newer conventions have "database|schema" in the namespace of some systems.
        namespace, _, schema = namespace.partition("|")
        if len(parts) == 3 and all(parts):
            namespace, parts = parts[0], parts[1:]
        elif len(parts) == 1 and schema:
            parts = [schema, *parts]
        if len(parts) == 2 and parts[0] == _WITH_SCHEMAS[system]:
            parts = parts[1:]
    elif system in _WITHOUT_SCHEMAS and len(parts) == 2 and all(parts):
        namespace, parts = parts[0], parts[1:]
    return DataName("dataset", Store(system, holder.address, namespace), ".".join(parts))


def topic(system: str, address: str, port: str, name: str) -> DataName:
    """The topic of this name on a message broker."""
    return DataName("topic", store(system, address, port, ""), name)


def of_openlineage(namespace: str, name: str) -> DataName | None:
    """The dataset that OpenLineage calls so; ``None`` for one that isn't kept anywhere.

    A namespace that is no URL says nothing but itself: such a dataset is known within the project
    only, as one of the system ``openlineage``.
    """
    namespace, name = namespace.strip(), name.strip()
    if not name:
        return None
    if _GLUE.fullmatch(namespace):
        database, _, table = name.removeprefix("table/").rpartition("/")
        return DataName("dataset", Store("aws.glue", namespace, database), table or name)
    lower = namespace.lower()
    if lower == "pubsub":
        return _of_pubsub(name)
    if lower in ("file", "bigquery"):
        namespace = f"{lower}://"
    url = _URL.fullmatch(namespace)
    if url is None:
        return DataName("dataset", Store("openlineage", "", namespace), name)
    system = system_name(url[1])
    if system == "inmemory":
        return None
    if system in _CONTAINERS:
        return DataName("dataset", Store(system, url[2].lower(), ""), _path(name))
    address, port = _host_and_port(url[2])
    if system in _BUSES:
        return topic(system, address, port, name)
    if system in _FILES:
        return DataName("dataset", store(system, address, port, ""), _path(name))
    if system in ("azure.cosmosdb", "azure.kusto"):
        return _of_azure(system, address, url[3], name)
    inside = url[3].strip("/")
    if not inside and (system in _WITHOUT_SCHEMAS or system in _DOTTED):
        inside, dot, rest = name.partition(".")
        if not dot or not inside or not rest:
            inside, rest = "", name
        name = rest
    return dataset(store(system, address, port, inside), name)


def without_credentials(namespace: str) -> str:
    """A namespace as it may be kept: no user, no password, no query."""
    url = _URL.match(namespace)
    if url is None:
        return namespace
    plain = namespace.partition("?")[0].partition("#")[0]
    if system_name(url[1]) in _CONTAINERS or "@" not in url[2]:
        return plain
    return plain[: url.start(2)] + url[2].rpartition("@")[2] + url[3]


def _of_pubsub(name: str) -> DataName:
    kind, _, rest = name.partition(":")
    project, _, resource = rest.partition(":")
    if kind in ("topic", "subscription") and project and resource:
        what = resource if kind == "topic" else f"subscription:{resource}"
        return DataName("topic", Store("gcp_pubsub", project, ""), what)
    return DataName("topic", Store("gcp_pubsub", "", ""), name)


def _of_azure(system: str, address: str, path: str, name: str) -> DataName:
    """``/dbs/DATABASE`` and ``colls/COLLECTION``, or ``DATABASE/TABLE``."""
    database, table = path.strip("/").removeprefix("dbs/"), name.removeprefix("colls/")
    if not database and "/" in table:
        database, _, table = table.partition("/")
    return DataName("dataset", store(system, address, "", database), table or name)


def _path(name: str) -> str:
    """A path as it is named with and without its first and last slash."""
    return name.strip("/") or "/"


def _host_and_port(authority: str) -> tuple[str, str]:
    authority = authority.rpartition("@")[2]
    host, colon, port = authority.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), port
    return authority.strip("[]"), ""


def _host(system: str, host: str) -> str:
    """A host by the part that both conventions say of it."""
    if system == "snowflake":
        return host.removesuffix(_SNOWFLAKE_DOMAIN)
    if system == "aws.redshift":
        found = _REDSHIFT_HOST.fullmatch(host)
        return f"{found[1]}.{found[2]}" if found else host
    return host
