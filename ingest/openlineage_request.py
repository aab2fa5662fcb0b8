"""Requests of OpenLineage's clients: which events are in one, and what each is about.

Invariant: what an event names is read here alone, so receiver and decoder agree on what is an
event. A name is an identity: it is kept whole or its bearer is none, and holds no credentials and
no mail address.
Specification: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingest.attributes import text
from ingest.bounded_json import read_json
from ingest.errors import BodyTooLarge, PayloadUndecodable
from ingest.personal import redacted
from ingest.posthog_request import object_of
from ontology.dataset_names import without_credentials

MAX_EVENTS = 10_000
MAX_NAME = 1_024
"""Characters of a name that is an identity."""

Identity = tuple[str, str]
"""The namespace and the name of a job or a dataset."""

NOT_AN_OBJECT = "not-an-object"
NO_RUN_ID = "no-run-id"
NO_JOB_NAME = "no-job-name"
NO_DATASET_NAME = "no-dataset-name"


def parse(payload: bytes) -> tuple[Any, ...]:
    """The events of a payload: one object, or a list of them.

    Raises :class:`PayloadUndecodable` and :class:`BodyTooLarge`.
    """
    document = read_json(payload)
    if isinstance(document, dict):
        return (document,)
    if not isinstance(document, list):
        raise PayloadUndecodable("the body is neither an event nor a list of events")
    if len(document) > MAX_EVENTS:
        raise BodyTooLarge(
            f"one request may carry {MAX_EVENTS} events; split it into smaller requests"
        )
    return tuple(document)


def refusal_of(item: Any) -> str:
    """Why this is no event, in kebab case; empty where it is one."""
    if not isinstance(item, dict):
        return NOT_AN_OBJECT
    if "job" not in item and "run" not in item:
        return "" if identity_of(item.get("dataset")) else NO_DATASET_NAME
    if not identity_of(item.get("job")):
        return NO_JOB_NAME
    return "" if "run" not in item or run_id_of(item) else NO_RUN_ID


def identity_of(said: Any) -> Identity | None:
    """The namespace and name of a job, a dataset or a symlink; ``None`` without a name to keep."""
    holder = object_of(said)
    namespace, name = holder.get("namespace", ""), holder.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str):
        return None
    if len(namespace) > MAX_NAME or len(name) > MAX_NAME or not name.strip():
        return None
    kept = text(without_credentials(namespace.strip()), MAX_NAME)
    return kept, redacted(text(name.strip(), MAX_NAME))


def column_of(name: Any) -> str:
    """The name of a column as it is kept; empty for what is none."""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        return ""
    return redacted(text(name.strip(), MAX_NAME))


def run_id_of(holder: Mapping[str, Any]) -> str:
    """The id of the run that an event or a facet names; empty without one."""
    said = object_of(holder.get("run")).get("runId")
    if not isinstance(said, str) or not 0 < len(said.strip()) <= MAX_NAME:
        return ""
    return text(said.strip().lower(), MAX_NAME)
