"""``fractalops worker`` before there is anything to execute, and who imports Temporal's client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.graph_api.cli.conftest import FakeServer, Result

IMPORTED = """
import sys
import graph_api.app, graph_api.assembly, graph_api.cli, graph_api.cli_worker
import stewards.catalog_push_job, stewards.job_activities, stewards.scheduler
print(sorted(name for name in sys.modules if name.startswith("temporalio"))[:3])
"""


def test_without_temporal_it_says_what_to_set_and_that_up_needs_none(
    run: Callable[..., Result], fake: FakeServer
) -> None:
    ended = run("--url", fake.url, "worker")
    assert ended.code == 1
    assert "FRACTALOPS_TEMPORAL=host:port" in ended.err
    assert "'fractalops up' alone executes all jobs" in ended.err
    assert fake.seen == []


def test_it_wants_to_know_where_temporal_is(
    run: Callable[..., Result], fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTALOPS_TEMPORAL", "https://temporal.example")
    ended = run("--url", fake.url, "worker")
    assert ended.code == 2
    assert "FRACTALOPS_TEMPORAL" in ended.err


def test_up_never_imports_temporal(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[]", done.stdout
