"""The stewards at work: who is hired, who is let go, and one cycle at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from stewards.errors import UnknownSteward
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.runs import Runs
from stewards.staff import Assignment, Staff
from stewards.sweep import Sweep

if TYPE_CHECKING:
    from ontology.ids import Ids
    from stewards.watermark import WatermarkStore
    from tests.stewards.conftest import Clock, PlayedGate, Traffic

TOKEN = "fot_" + "s" * 43


@pytest.fixture
def assignments(project: str) -> list[Assignment]:
    return [Assignment("shop-steward", project, TOKEN)]


@pytest.fixture
def staff(
    gate: PlayedGate,
    ids: Ids,
    watermarks: WatermarkStore,
    clock: Clock,
    assignments: list[Assignment],
) -> Iterator[Staff]:
    runs = Runs(watermarks)

    def hire(assignment: Assignment) -> TelemetrySteward:
        client = GateClient.connect(gate.url, assignment.token, lambda seconds: None)
        sweep = Sweep(assignment.name, assignment.project, client, ids, watermarks, clock)
        return TelemetrySteward(sweep, runs)

    made = Staff(lambda: list(assignments), hire)
    yield made
    made.close()
    runs.close()


def test_a_cycle_on_demand(staff: Staff, traffic: Traffic, project: str) -> None:
    traffic.send(*traffic.order())
    outcome = staff.sweep(project)
    assert (outcome.state, outcome.watermark) == ("proposed", 1)
    (status,) = staff.status()
    assert (status["watermark"], status["runs"], status["proposals"]) == (1, 1, 1)
    assert status["last_run_at"] == "2026-11-22T12:00:00+00:00"
    assert str(status["last_outcome"]).startswith("read 8 facts; proposed 100 quads in 1 proposal")
    assert staff.project_of("shop-steward") == project
    with pytest.raises(UnknownSteward, match="'nobody'; at work: shop-steward"):
        staff.project_of("nobody")


def test_demands_at_once_are_cycles_after_each_other(
    gate: PlayedGate, staff: Staff, traffic: Traffic, project: str
) -> None:
    traffic.send(*traffic.order())
    threads = [threading.Thread(target=staff.sweep, args=(project,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(gate.made()) == 1
    assert staff.status()[0]["runs"] == 3


def test_stewards_come_and_go_with_their_assignments(
    staff: Staff, assignments: list[Assignment], project: str
) -> None:
    staff.gather()
    assignments.append(Assignment("another", project + "-b", TOKEN))
    assert staff.sweep(project + "-b").state == "idle"
    assert [item["name"] for item in staff.status()] == ["another", "shop-steward"]
    assignments.clear()
    staff.gather()
    assert staff.status() == []
    with pytest.raises(UnknownSteward, match="no project yet"):
        staff.sweep(project)


def test_a_steward_whose_token_changes_is_hired_anew(
    staff: Staff, assignments: list[Assignment], project: str
) -> None:
    assignments[:] = [Assignment("shop-steward", project, "fot_revoked")]
    outcome = staff.sweep(project)
    assert outcome.state == "failed"
    assert "The token is not known (401)" in outcome.reason
    assignments[:] = [Assignment("shop-steward", project, TOKEN)]
    staff.gather()
    assert staff.sweep(project).state == "idle"


def test_what_is_to_be_read_again_is_read_again(
    staff: Staff, traffic: Traffic, project: str
) -> None:
    traffic.send(*traffic.order())
    staff.sweep(project)
    staff.read_again(project, 1)
    assert staff.status()[0]["watermark"] == 0
    assert staff.sweep(project).state == "unchanged"


def test_after_the_end_nobody_is_hired_and_nobody_reads_again(staff: Staff, project: str) -> None:
    staff.gather()
    staff.close()
    staff.gather()
    assert staff.status() == []
    with pytest.raises(UnknownSteward):
        staff.read_again(project, 1)


def test_no_token_is_shown(project: str) -> None:
    assert TOKEN not in repr(Assignment("shop-steward", project, TOKEN))
