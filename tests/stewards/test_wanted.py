"""The schedules that are wanted follow from the projects and from what was set."""

from __future__ import annotations

from stewards.jobs import DAY, HOUR, Job, Schedule
from stewards.wanted import Wanted, wanted_schedules


def ids(found: list[Wanted]) -> list[str]:
    return [wanted.schedule.job.id for wanted in found]


def test_there_is_something_to_do_without_a_project() -> None:
    found = wanted_schedules((), (), (), sweep_every=5, mirrored=False)
    assert ids(found) == ["audit", "retention"]
    assert not any(wanted.set for wanted in found)
    found = wanted_schedules((), (), (), sweep_every=5, mirrored=True)
    assert ids(found) == ["audit", "mirror", "retention"]
    found = wanted_schedules((), (), (), sweep_every=5, mirrored=False, looking=True)
    assert ids(found) == ["audit", "discover-assets", "retention"]


def test_only_what_has_a_steward_is_swept() -> None:
    found = wanted_schedules(("shop", "bank"), ("shop",), (), sweep_every=7, mirrored=False)
    assert ids(found) == ["audit", "retention", "sweep:shop"]
    assert found[-1].schedule.every == 7


def test_what_is_set_takes_the_place_of_the_usual() -> None:
    nightly = Schedule(Job("audit"), DAY, 3 * HOUR)
    again = Schedule(Job("reclassify", "shop"), HOUR)
    gone = Schedule(Job("sweep", "gone"), HOUR)
    given = (nightly, again, gone)
    found = wanted_schedules(("shop",), ("shop",), given, sweep_every=5, mirrored=False)
    assert ids(found) == ["audit", "reclassify:shop", "retention", "sweep:shop"]
    assert [wanted.schedule for wanted in found if wanted.set] == [nightly, again]
