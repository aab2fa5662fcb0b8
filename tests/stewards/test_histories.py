"""Histories that earlier versions of the workflow left are gone on with by this one.

``tests/live/test_temporal_workflow.py`` recorded them on a real server. One is never recorded
anew: where the workflow must do something else, ``workflow.patched`` keeps these replaying, and new
ones are added beside them.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from stewards import orders
from stewards.orders import Attempt, Order, Performed
from stewards.workflows import JobWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@workflow.defn(name=orders.JOB_WORKFLOW)
class HastyWorkflow:
    """As someone might change it: it rests before it does anything."""

    @workflow.run
    async def run(self, order: Order) -> dict[str, Any]:
        await asyncio.sleep(1)
        performed: Performed = await workflow.execute_activity(
            orders.PERFORM,
            Attempt(order, "run", 0.0),
            result_type=Performed,
            start_to_close_timeout=timedelta(seconds=1),
        )
        return performed.outcome


def replay(kind: type, path: Path) -> BaseException | None:
    document = json.loads(path.read_text())
    history = WorkflowHistory.from_json(document["id"], document["history"])

    async def run() -> BaseException | None:
        replayer = Replayer(workflows=[kind], workflow_runner=SandboxedWorkflowRunner())
        return (
            await replayer.replay_workflow(history, raise_on_replay_failure=False)
        ).replay_failure

    return asyncio.run(run())


def test_there_are_histories_of_each_way_a_job_goes() -> None:
    ways = {path.stem.rpartition("-")[0] for path in HISTORIES}
    assert {"done", "idle", "retried", "failed-GateBusy", "cancelled", "woken"} <= ways


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_replays(path: Path) -> None:
    assert replay(JobWorkflow, path) is None


@pytest.mark.parametrize("path", HISTORIES[:2], ids=lambda path: path.stem)
def test_a_change_that_is_not_deterministic_is_noticed(path: Path) -> None:
    failure = replay(HastyWorkflow, path)
    assert isinstance(failure, workflow.NondeterminismError), failure


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_history_tells_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text()
    assert "stackTrace" not in text
    assert "/home/" not in text
    assert "site-packages" not in text
