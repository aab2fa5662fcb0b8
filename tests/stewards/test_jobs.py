"""Jobs and their moments: what may be asked for, and when it runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewards.errors import JobInvalid
from stewards.jobs import DAY, HOUR, KINDS, Job, Patience, Schedule, usual_schedule
from stewards.wanted import wanted_schedules

PULL = {
    "source": "posthog",
    "url": "https://eu.posthog.example",
    "of": "17",
    "since": "2026-01-01",
    "token_env": "POSTHOG_PERSONAL_API_KEY",
}


@pytest.mark.parametrize(
    ("job", "identifier"),
    [
        (Job("sweep", "shop"), "sweep:shop"),
        (Job("audit"), "audit"),
        (Job("reclassify"), "reclassify"),
        (Job("reclassify", "shop", arguments={"since": 4}), "reclassify:shop"),
        (Job("backfill", "shop", "old", PULL), "backfill:shop:old"),
        (Job("catalog-push", arguments={"server": "http://gms.example:8080"}), "catalog-push"),
        (
            Job("catalog-push", None, "second", {"server": "https://gms.example"}),
            "catalog-push::second",
        ),
    ],
)
def test_a_job_is_known_by_its_id(job: Job, identifier: str) -> None:
    assert job.id == identifier


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"kind": "dance"}, "there is no job 'dance'; there are: audit, backfill"),
        ({"kind": "sweep"}, "a job sweep is a project's: name it"),
        ({"kind": "audit", "project": "shop"}, "a job audit is no project's"),
        ({"kind": "sweep", "project": "shop", "label": "b"}, "a job sweep takes no label"),
        ({"kind": "sweep", "project": "Shop"}, "'Shop' is no name"),
        ({"kind": "sweep", "project": "shop\n"}, "is no name"),
        ({"kind": "backfill", "project": "shop"}, "needs of, since, source, token_env, url"),
        ({"kind": "audit", "arguments": {"deep": True}}, "no argument 'deep'; it takes: none"),
        ({"kind": "reclassify", "arguments": {"since": -1}}, "since of a job reclassify can't be"),
        ({"kind": "reclassify", "arguments": {"since": True}}, "can't be True"),
    ],
)
def test_what_is_no_job_is_refused_with_what_would_be(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(JobInvalid, match=said):
        Job(**given_)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_env", "FRACTALOPS_TOKEN"),
        ("token_env", "FRACTALOPS_LOG_KEY"),
        ("token_env", "PATH"),
        ("token_env", "a secret"),
        ("url", "https://user:secret@gms.example"),
        ("url", "file:///etc/passwd"),
        ("url", "https://gms.example?token=secret"),
        ("since", "yesterday"),
        ("of", "../17"),
    ],
)
def test_arguments_hold_no_secret_and_name_none_of_ours(name: str, value: str) -> None:
    with pytest.raises(JobInvalid, match=f"{name} of a job backfill can't be"):
        Job("backfill", "shop", "old", {**PULL, name: value})


@given(
    every=st.floats(0.05, 366 * DAY),
    part=st.floats(0, 0.999),
    moment=st.floats(0, 4e9),
)
def test_the_next_moment_lies_ahead_and_within_one_interval(
    every: float, part: float, moment: float
) -> None:
    schedule = Schedule(Job("audit"), every, every * part)
    following = schedule.next_after(moment)
    # Sums of this size are exact to a microsecond.
    assert moment - 1e-5 < following <= moment + every + 1e-5


def test_every_day_at_three_is_every_day_at_three_whatever_the_clock_did() -> None:
    schedule = Schedule(Job("audit"), DAY, 3 * HOUR)
    noon = 20_000 * DAY + 12 * HOUR
    assert schedule.next_after(noon) == 20_001 * DAY + 3 * HOUR
    assert schedule.next_after(20_001 * DAY + 3 * HOUR) == 20_002 * DAY + 3 * HOUR
    assert schedule.next_after(20_001 * DAY + 3 * HOUR - 1) == 20_001 * DAY + 3 * HOUR


@pytest.mark.parametrize(
    ("every", "offset"), [(0, 0), (0.01, 0), (367 * DAY, 0), (60, 60), (60, -1)]
)
def test_intervals_and_offsets_have_bounds(every: float, offset: float) -> None:
    with pytest.raises(JobInvalid):
        Schedule(Job("audit"), every, offset)


def test_usual_schedules_do_not_begin_together() -> None:
    offsets = {usual_schedule(Job("sweep", f"p{n}"), 60).offset for n in range(100)}
    assert len(offsets) > 30
    assert usual_schedule(Job("audit")).every == KINDS["audit"].every


def test_patience_doubles_up_to_its_longest_wait_and_ends_where_it_has_an_end() -> None:
    patience = Patience(first=5, longest=300, attempts=3)
    assert [patience.wait(n) for n in (1, 2, 3, 7, 8, 10_000)] == [5, 10, 20, 300, 300, 300]
    assert [patience.is_over(n) for n in (1, 2, 3)] == [False, False, True]
    assert not Patience().is_over(10**9)


@pytest.mark.parametrize(("projects", "every"), [(1, 5), (25, 5), (26, 10), (200, 40), (1000, 320)])
def test_many_projects_are_looked_at_more_seldom(projects: int, every: float) -> None:
    slugs = [f"p{number}" for number in range(projects)]
    found = wanted_schedules(slugs, slugs, (), sweep_every=5, mirrored=False)
    sweeps = [each.schedule for each in found if each.schedule.job.kind == "sweep"]
    assert {schedule.every for schedule in sweeps} == {every}
    assert len(sweeps) == projects
