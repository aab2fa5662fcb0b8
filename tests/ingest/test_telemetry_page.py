"""The page on telemetry says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest import (
    attributes,
    bodies,
    bounded_json,
    openlineage,
    openlineage_facets,
    openlineage_request,
    otlp,
    otlp_entities,
    otlp_logs,
    otlp_metrics,
    otlp_values,
    outbox,
    outbox_entry,
    outbox_tally,
    posthog,
    posthog_request,
    relay,
    warehouse,
)
from ingest.errors import (
    QueryInvalid,
    QueryLimitReached,
    QueryRefused,
    WarehouseBusy,
    WarehouseError,
)
from ingest.openlineage_receiver import BATCH_PATH, LINEAGE_PATH
from ingest.posthog_receiver import (
    CONFIG_PATH,
    EVENT_PATHS,
    FLAGS_PATHS,
    REPLAY_PATH,
    RESULTS_PATH,
)
from ingest.pump import EVENTS
from ingest.receivers import REQUESTS
from ingest.schema import migrations
from runtime.serving_settings import GRPC_PORT
from runtime.settings import Settings


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "telemetry.md").read_text()


@pytest.mark.parametrize("table", sorted(warehouse.TABLES))
def test_the_columns_are_those_of_the_schema(page: str, table: str) -> None:
    schema = "".join(migration.text for migration in migrations())
    body = schema.split(f"CREATE TABLE IF NOT EXISTS {table} (")[1].split(") ENGINE")[0]
    columns = re.findall(r"^    `?([a-z_]+)`? [A-Z]", body, re.MULTILINE)
    row = next(line for line in page.splitlines() if line.startswith(f"| `{table}` |"))
    assert re.findall(r"`([a-z_]+)`", row) == [table, *columns]


def test_the_metrics_exist(page: str) -> None:
    known = {
        name
        for collector in REGISTRY.collect()
        for name in (collector.name, f"{collector.name}_total")
    }
    named = set(re.findall(r"`(fractalops_[a-z_]+)", page))
    assert named <= known
    assert {outbox_tally.FORWARDED._name + "_total", relay.RELAYED._name + "_total"} <= named
    assert {outbox_tally.ENTRIES._name, outbox_tally.OLDEST._name} <= named
    assert {REQUESTS._name + "_total", EVENTS._name + "_total"} <= named


def test_the_limits_are_those_of_the_code(page: str) -> None:
    for limit in (posthog_request.MAX_ITEMS, bounded_json.MAX_VALUES):
        assert f"{limit:,}" in page
    assert f"more than {bounded_json.MAX_DEPTH} levels deep" in page
    for path in (*EVENT_PATHS, RESULTS_PATH, *FLAGS_PATHS, REPLAY_PATH, CONFIG_PATH):
        assert re.search(rf"^\| `(?:POST|GET) [^|]*{re.escape(path)}`", page, re.MULTILINE), path
    for key in posthog.SERVICE_KEYS + posthog.RELEASE_KEYS + posthog.ENVIRONMENT_KEYS:
        assert f"`{key}`" in page
    assert f"`{posthog.PERSON}`" in page
    for limit in (otlp.MAX_ITEMS, attributes.MAX_VALUE, otlp_values.MAX_SHARED, warehouse.MAX_ROWS):
        assert f"{limit:,}" in page
    assert f"no more than {otlp_metrics.MAX_BUCKETS} of them" in page
    assert f"`entity_refs`, {otlp_entities.MAX_REFERENCES} at" in page
    for severity in otlp_logs.SEVERITIES:
        assert f"`{severity}`" in page
    assert f"severity number {otlp_logs.ERROR_NUMBER}" in page
    assert f"port {GRPC_PORT}" in page
    assert bodies.MAX_BODY == 20 * 2**20
    assert "more than 20 MiB" in page
    assert (outbox_entry.BOUNDS.lane, outbox_entry.BOUNDS.all) == (2**30, 2**32)
    assert "1 GiB for each project and kind, 4 GiB for all" in page
    assert Settings().outbox_days == outbox.DAYS
    assert f"| `FRACTALOPS_OUTBOX_DAYS` | {outbox.DAYS} |" in page
    assert (warehouse.MAX_SECONDS, warehouse.MAX_MEMORY, warehouse.MAX_RESULT_BYTES) == (
        30,
        512 * 2**20,
        64 * 2**20,
    )
    assert "more than 30 seconds, 512 MiB of memory or 64 MiB of answer" in page
    for path in (LINEAGE_PATH, BATCH_PATH):
        assert f"| `POST {path}` |" in page
    for limit in (
        openlineage.MAX_DATASETS,
        openlineage.MAX_COLUMN_PAIRS,
        openlineage_request.MAX_EVENTS,
        openlineage_request.MAX_NAME,
    ):
        assert f"{limit:,}" in page
    for key in openlineage_facets.ENVIRONMENT_KEYS:
        assert f"`{key}`" in page
    for encoding in bodies.ENCODINGS:
        assert encoding in page


@pytest.mark.parametrize("error", [QueryInvalid, QueryRefused, QueryLimitReached, WarehouseBusy])
def test_the_refusals_are_those_of_the_code(page: str, error: type[WarehouseError]) -> None:
    assert f"| {error.status} `{error.kind}` |" in page
