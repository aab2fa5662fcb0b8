"""Stewards that a worker borrows: whose tokens, until when, and who is hired for a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from stewards.errors import UnknownSteward
from stewards.gate_client import GateClient
from stewards.jobs import Job, Schedule
from stewards.lent_staff import LentStaff
from stewards.loop import TelemetrySteward
from stewards.platform_client import PlatformClient, WantedJobs, WantedSchedule
from stewards.runs import Runs
from stewards.staff import Assignment
from stewards.sweep import Sweep
from tests.ingest.stand_in import Asked, Said, standing_in

if TYPE_CHECKING:
    from ontology.ids import Ids
    from stewards.watermark import WatermarkStore
    from tests.stewards.conftest import Clock, PlayedGate, Traffic

TOKEN = "fot_" + "s" * 43


@dataclass
class Lender:
    """Lends tokens to some projects' stewards, and hears what will be read again."""

    projects: set[str]
    lent: list[str] = field(default_factory=list)
    reread: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        steward, _, what = asked.path.removeprefix("/stewards/").partition("/")
        project = steward.removeprefix("steward-")
        if project not in self.projects:
            return Said(404, {"type": "/problems/unknown-steward", "title": "No", "status": 404})
        if what == "rereading":
            self.reread.append((project, json.loads(asked.body)["since"]))
            return Said(204)
        self.lent.append(project)
        return Said(document={"token": TOKEN, "project": project})


@pytest.fixture
def lender(project: str) -> Lender:
    return Lender({project})


@pytest.fixture
def staff(
    lender: Lender, gate: PlayedGate, ids: Ids, watermarks: WatermarkStore, clock: Clock
) -> Iterator[LentStaff]:
    runs = Runs(watermarks)

    def hire(assignment: Assignment) -> TelemetrySteward:
        client = GateClient.connect(gate.url, assignment.token, lambda seconds: None)
        name, project = "shop-steward", assignment.project
        return TelemetrySteward(Sweep(name, project, client, ids, watermarks, clock), runs)

    with standing_in() as stand_in:
        stand_in.answer = lender.answer
        platform = PlatformClient.connect(stand_in.url, "fot_operator", lambda seconds: None)
        made = LentStaff(platform, hire)
        yield made
        made.close()
        platform.close()
    runs.close()


def wanted(process: str, *projects: str, changed: dict[str, int] | None = None) -> WantedJobs:
    schedules = tuple(WantedSchedule(Schedule(Job("sweep", p), 60), set=False) for p in projects)
    return WantedJobs(f"{process}.1", None, schedules, (), changed or {})


def idle() -> bool:
    return False


def test_a_token_is_borrowed_once_from_each_process(
    staff: LentStaff, lender: Lender, project: str
) -> None:
    for process in ("a", "a", "b", "b"):
        staff.told(wanted(process, project))
        assert staff.sweep(project, idle).state == "idle"
    assert lender.lent == [project, project]


def test_who_is_unknown_to_the_platform_keeps_nobody_from_work(
    staff: LentStaff, lender: Lender, project: str
) -> None:
    staff.told(wanted("a", "left", project))
    assert staff.sweep(project, idle).state == "idle"
    with pytest.raises(UnknownSteward, match="'left'"):
        staff.sweep("left", idle)


def test_a_project_that_was_not_heard_of_is_asked_for(
    staff: LentStaff, lender: Lender, project: str
) -> None:
    assert staff.sweep(project, idle).state == "idle"
    with pytest.raises(UnknownSteward, match="project nobody has no steward"):
        staff.sweep("nobody", idle)


def test_what_changed_is_read_again_once_and_the_platform_is_told(
    staff: LentStaff, lender: Lender, traffic: Traffic, project: str
) -> None:
    traffic.send(*traffic.order())
    staff.told(wanted("a", project))
    assert staff.sweep(project, idle).state == "proposed"
    assert staff.sweep(project, idle).state == "idle"
    staff.told(wanted("a", project, changed={project: 1}))
    assert staff.sweep(project, idle).state == "unchanged"
    assert lender.reread == [(project, 1)]
    assert staff.sweep(project, idle).state == "idle"
