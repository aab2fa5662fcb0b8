"""The page on history says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_api.cli_ingest import MAX_NAMED, Format
from ingest import history_records, patience, pull_posthog
from ingest.posthog_export import captured


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "history.md").read_text()


def test_the_formats_are_those_of_the_command(page: str) -> None:
    for form in Format:
        assert f"`{form}`" in page


def test_the_limits_are_those_of_the_code(page: str) -> None:
    assert (history_records.MAX_RECORD, history_records.MAX_REQUEST) == (20 * 2**20, 2**20)
    assert f"{history_records.MAX_RECORDS:,} records" in page
    assert f"most {MAX_NAMED} of a file" in page
    assert f"{patience.PATIENCE:.0f} seconds for one request" in page.replace("\n", " ")
    assert f"{pull_posthog.PAGE:,} at a time" in page


def test_the_columns_of_posthog_are_those_that_are_sent(page: str) -> None:
    row = dict.fromkeys((*pull_posthog.COLUMNS, "person_properties", "ip"), "a")
    assert list(captured(row)) == ["uuid", "event", "distinct_id", "timestamp", "properties"]
    for column in pull_posthog.COLUMNS:
        assert f"`{column}`" in page
