"""What is kept of OpenLineage's facets.

Invariant: facets are named one by one, so that what is unknown, or malformed, is left out and takes
nothing with it. No statement, source code, environment variable or owner who is a person leaves
here; of a statement only its verb and its table remain, of an error only its first line.
Source: https://openlineage.io/docs/spec/facets/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ingest.attributes import MAX_VALUE
from ingest.names import summary
from ingest.openlineage_request import Identity, column_of, identity_of, run_id_of
from ingest.personal import is_personal
from ingest.posthog_request import object_of, text_of
from ingest.sentry_issue import few_names

ENVIRONMENT_KEYS = (
    "deployment.environment.name",
    "deployment.environment",
    "environment",
    "env",
)

# Of one facet; what is more is left out.
_MAX_ITEMS = 10_000
_MAX_TAGS = 100
_MAX_ALIASES = 16
_MAX_STATEMENT = 65_536
_MAX_LINE = 1_000
# How OpenLineage writes owners; a user is a person.
_TEAM = re.compile(r"(?:team|group|org|service):\S{1,200}")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def run_facets(facets: Any) -> dict[str, str]:
    """Of the facets of a run: its parents, its engine, its nominal times and what went wrong."""
    found = object_of(facets)
    parent = object_of(found.get("parent"))
    nominal, engine = object_of(found.get("nominalTime")), object_of(found.get("processing_engine"))
    error = object_of(found.get("errorMessage"))
    return {
        **_relative("parent", parent),
        **_relative("root", object_of(parent.get("root"))),
        "nominal.start": text_of(nominal, "nominalStartTime"),
        "nominal.end": text_of(nominal, "nominalEndTime"),
        "processing_engine.name": text_of(engine, "name"),
        "processing_engine.version": text_of(engine, "version"),
        "error.message": _first_line(text_of(error, "message")),
        "error.language": text_of(error, "programmingLanguage"),
        **tags(found),
    }


def job_facets(facets: Any) -> dict[str, str]:
    """Of the facets of a job: what kind it is, who owns it and what its statement does."""
    found = object_of(facets)
    kind = object_of(found.get("jobType"))
    verb, table = summary(text_of(object_of(found.get("sql")), "query")[:_MAX_STATEMENT])
    return {
        "job.processing": text_of(kind, "processingType").upper(),
        "job.integration": text_of(kind, "integration"),
        "job.type": text_of(kind, "jobType"),
        "sql.operation": verb,
        "sql.table": table,
        **_ownership(found),
        **tags(found),
    }


def dataset_facets(entry: Mapping[str, Any]) -> dict[str, str]:
    """Of the facets of a dataset, also as an input or an output: its columns, its owners, how many
    assertions held, how much was written."""
    found = object_of(entry.get("facets"))
    inward, outward = object_of(entry.get("inputFacets")), object_of(entry.get("outputFacets"))
    fields = [object_of(field) for field in _items(object_of(found.get("schema")).get("fields"))]
    columns = [name for field in fields if (name := column_of(field.get("name")))]
    types = [
        (name, kind)
        for field in fields
        if (name := column_of(field.get("name"))) and (kind := column_of(field.get("type")))
    ]
    said = inward.get("dataQualityAssertions") or found.get("dataQualityAssertions")
    outcomes = [
        passed
        for assertion in _items(object_of(said).get("assertions"))
        if isinstance(passed := object_of(assertion).get("success"), bool)
    ]
    written = object_of(outward.get("outputStatistics"))
    change = object_of(found.get("lifecycleStateChange"))
    return {
        "schema.fields": str(len(columns)) if columns else "",
        "schema.columns": names_in(columns),
        "schema.types": names_in(types),
        "assertions.passed": str(outcomes.count(True)) if outcomes else "",
        "assertions.failed": str(outcomes.count(False)) if outcomes else "",
        "output.rows": text_of(written, "rowCount"),
        "output.bytes": text_of(written, "size"),
        "lifecycle": text_of(change, "lifecycleStateChange"),
        **_ownership(found),
        **tags(found),
    }


def identities(entry: Any) -> tuple[Identity, tuple[Identity, ...]] | None:
    """The dataset's canonical identity, and its other ones in order; ``None`` without a name.

    Of the symlinks, one of the type TABLE names the logical table, and wins over the place where
    its data lie; of several, the first in order.
    """
    own = identity_of(entry)
    if own is None:
        return None
    links = object_of(object_of(object_of(entry).get("facets")).get("symlinks")).get("identifiers")
    tables, others = set(), {own}
    for link in islice(_items(links), _MAX_ALIASES):
        other = identity_of(link)
        if other is not None:
            others.add(other)
            if text_of(object_of(link), "type").upper() == "TABLE":
                tables.add(other)
    canonical = min(tables, default=own)
    return canonical, tuple(sorted(others - {canonical}))


def tags(facets: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run, a job or a dataset, but for those of its columns and of persons."""
    found = {}
    for tag in islice(_items(object_of(facets.get("tags")).get("tags")), _MAX_TAGS):
        said = object_of(tag)
        key = text_of(said, "key")
        if key and not text_of(said, "field") and not is_personal(key):
            found[f"tags.{key}"] = text_of(said, "value")
    return found


def environment_of(*attributes: Mapping[str, str]) -> str:
    """The deployment environment, where a tag names it."""
    return next(
        (
            found[f"tags.{key}"]
            for found in attributes
            for key in ENVIRONMENT_KEYS
            if found.get(f"tags.{key}")
        ),
        "",
    )


def _relative(prefix: str, said: Mapping[str, Any]) -> dict[str, str]:
    """The job and run that a facet names."""
    namespace, name = identity_of(said.get("job")) or ("", "")
    return {
        f"{prefix}.job.namespace": namespace,
        f"{prefix}.job.name": name,
        f"{prefix}.run.id": run_id_of(said),
    }


def _ownership(facets: Mapping[str, Any]) -> dict[str, str]:
    owners = list(_items(object_of(facets.get("ownership")).get("owners")))
    teams = sorted(
        {name for owner in owners if _TEAM.fullmatch(name := text_of(object_of(owner), "name"))}
    )
    return {
        "ownership.owners": str(len(owners)) if owners else "",
        "ownership.teams": names_in(teams),
    }


def names_in(names: Iterable[str | Identity]) -> str:
    """As many of these names as an attribute has room for, as a JSON list."""
    room, kept = MAX_VALUE - 2, []
    for name in names:
        room -= len(json.dumps(name, ensure_ascii=False)) + 2
        if room < 0:
            break
        kept.append(name)
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def _first_line(message: str) -> str:
    line = message[: 4 * _MAX_LINE].strip().partition("\n")[0][:_MAX_LINE]
    return few_names(_QUOTED.sub("''", line))


def _items(said: Any) -> Iterator[Any]:
    return islice(iter(said if isinstance(said, list) else ()), _MAX_ITEMS)
