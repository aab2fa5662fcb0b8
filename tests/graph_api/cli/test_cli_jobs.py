"""Schedules and runs of jobs on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from graph_api import cli_job_options, cli_jobs
from graph_api.cli_job_options import words
from stewards.jobs import Job

AUDIT: dict[str, Any] = {"kind": "audit", "project": None, "label": "", "arguments": {}}
SCHEDULE = {
    "job": "audit",
    **AUDIT,
    **{"every": 86_400.0, "offset": 30_201.0, "paused": False, "set": False},
    "next": "2026-11-29T08:23:21.000+00:00",
    "last": None,
}
RUN = {
    "id": "r1",
    "job": "audit",
    **AUDIT,
    **{"state": "asked", "attempt": 0, "executor": "", "asked_by": "http://x/id/principal/olga"},
    **{"began": "2026-11-28T12:00:00.000+00:00", "ended": None, "outcome": None, "error": ""},
}
FAILED = {**RUN, "state": "failed", "attempt": 5, "error": "the disk is full"}
PUSH = {
    **SCHEDULE,
    **{"job": "catalog-push::lake", "kind": "catalog-push", "label": "lake"},
    **{"arguments": {"server": "http://gms:8080"}, "every": 3600.0, "offset": 12.0, "set": True},
}

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def listed(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_jobs, "PAUSE", 0.0)
    fake.says("GET /schedules", {"items": [SCHEDULE, PUSH]})
    fake.says("PUT /schedules", {**SCHEDULE, "set": True})
    fake.says("POST /jobs", RUN, status=202)
    fake.says("GET /jobs/runs/r1", FAILED)


def test_schedules_are_listed(fake: Any, data: Path, run: Run) -> None:
    last = {**RUN, "state": "failed", "ended": "2026-11-28T12:00:30.000+00:00", "error": "no disk"}
    paused = {**PUSH, "paused": True, "next": None}
    fake.says("GET /schedules", {"items": [{**SCHEDULE, "last": last}, paused]})
    shown = run("schedules", "list", "--data", data)
    head, audit, push = shown.out.splitlines()
    assert head.split() == ["job", "every", "next", "set", "last", "ended", "error"]
    assert audit.split()[:5] == ["audit", "1d", SCHEDULE["next"], "no", "failed"]
    assert audit.endswith("no disk")
    assert push.split() == ["catalog-push::lake", "1h", "paused", "yes"]


SETS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "audit --every 24h --at 03:00",
        {**AUDIT, "every": 86_400.0, "offset": 10_800.0, "paused": False},
    ),
    ("audit --at 3:30", {**AUDIT, "every": 86_400.0, "offset": 12_600.0, "paused": False}),
    ("audit --every 6h --at 15:00", {**AUDIT, "every": 21_600.0, "offset": 10_800.0}),
    ("audit --every 7d", {**AUDIT, "every": 604_800.0, "offset": None}),
    (
        "sweep --project shop --every 60s",
        {"kind": "sweep", "project": "shop", "label": "", "arguments": {}, "every": 60.0},
    ),
    ("sweep:shop --every 60", {"kind": "sweep", "project": "shop", "every": 60.0}),
    (
        "catalog-push --every 1h --server http://gms:8080 --token-env DATAHUB_GMS_TOKEN",
        {
            **{"kind": "catalog-push", "project": None, "label": "", "every": 3600.0},
            "arguments": {"server": "http://gms:8080", "token_env": "DATAHUB_GMS_TOKEN"},
        },
    ),
    (
        "catalog-push::lake --env PROD",
        {
            **{"kind": "catalog-push", "label": "lake", "every": 3600.0, "offset": 12.0},
            "arguments": {"server": "http://gms:8080", "env": "PROD"},
        },
    ),
    (
        "backfill --project shop --label old --every 6h --source posthog --url http://p --of 17"
        " --since 2026-01-01 --token-env POSTHOG_TOKEN",
        {
            **{"kind": "backfill", "project": "shop", "label": "old", "every": 21_600.0},
            "arguments": {
                **{"source": "posthog", "url": "http://p", "of": "17", "since": "2026-01-01"},
                "token_env": "POSTHOG_TOKEN",
            },
        },
    ),
    (
        "reclassify --every 1d --since 120",
        {"kind": "reclassify", "arguments": {"since": 120}, "every": 86_400.0},
    ),
)


@pytest.mark.parametrize(("said", "sent"), SETS)
def test_a_schedule_is_set(
    fake: Any, data: Path, run: Run, said: str, sent: dict[str, Any]
) -> None:
    shown = run("schedules", "set", *said.split(), "--data", data)
    assert shown.code == 0, shown.err
    assert fake.last.method == "PUT"
    body = fake.last.json
    assert {name: body.get(name) for name in sent} == sent
    Job(body["kind"], body["project"], body["label"], body["arguments"])
    assert shown.out.splitlines()[1].split()[0] == "audit"


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("reclassify", 1, "reclassify has no schedule yet: say how often it runs, as --every 6h"),
        ("audit --at 25:00", 2, "write 03:00"),
        ("audit --every often", 2, "24h or 7d"),
    ],
)
def test_a_schedule_that_can_t_be_is_refused(
    fake: Any, data: Path, run: Run, said: str, code: int, message: str
) -> None:
    shown = run("schedules", "set", *said.split(), "--data", data)
    assert shown.code == code
    assert message in " ".join(shown.err.split())
    assert not any(seen.method == "PUT" for seen in fake.seen)


def test_a_schedule_is_paused_resumed_and_removed(fake: Any, data: Path, run: Run) -> None:
    paused = run("schedules", "pause", "catalog-push::lake", "--data", data)
    assert fake.last.json == {
        **{"kind": "catalog-push", "project": None, "label": "lake", "paused": True},
        **{"arguments": PUSH["arguments"], "every": 3600.0, "offset": 12.0},
    }
    assert "fractalops schedules resume catalog-push::lake" in paused.err
    resumed = run("schedules", "resume", "audit", "--data", data)
    assert fake.last.json["paused"] is False
    assert f"audit runs every 1d, next at {SCHEDULE['next']}." in resumed.err
    unknown = run("schedules", "pause", "sweep:nowhere", "--data", data)
    assert (unknown.code, "fractalops schedules list" in unknown.err) == (1, True)
    for job, said in (
        ("audit", "runs as it usually does."),
        ("backfill:shop:old", "runs no more by schedule."),
    ):
        path = f"DELETE /schedules/{job.replace(':', '%3A')}"
        fake.answers[path] = Response(status_code=204)
        assert f"{job} {said}" in run("schedules", "remove", job, "--data", data).err


def test_runs_are_listed_and_shown(fake: Any, data: Path, run: Run) -> None:
    fake.says("GET /jobs/runs", {"items": [FAILED]})
    shown = run("jobs", "list", "--job", "audit", "--limit", 5, "--data", data)
    assert fake.last.query == {"job": ["audit"], "limit": ["5"]}
    assert shown.out.splitlines()[1].split()[:4] == ["r1", "audit", "failed", "5"]
    one = run("jobs", "show", "r1", "--data", data, "--output", "json")
    assert json.loads(one.out) == FAILED


def test_a_run_is_asked_for(fake: Any, data: Path, run: Run) -> None:
    shown = run("jobs", "run", "audit", "--data", data)
    assert shown.code == 0
    assert fake.last.json == AUDIT
    assert "fractalops jobs show r1" in shown.err
    run("jobs", "run", "catalog-push::lake", "--again", "--data", data)
    assert fake.last.json["arguments"] == {"server": "http://gms:8080", "again": True}
    given = ("--whole", "--no-again", "--public-url", "https://graph.example")
    run("jobs", "run", "catalog-push::lake", *given, "--data", data)
    assert fake.last.json["arguments"] == {
        **{"server": "http://gms:8080", "public_url": "https://graph.example"},
        **{"again": False, "whole": True},
    }
    run("jobs", "again", "r1", "--data", data)
    assert fake.last.json == AUDIT


def test_a_run_is_followed_to_its_end(
    fake: Any, data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_jobs, "UNTOUCHED", -1.0)
    steps = iter(
        [
            {**RUN, "state": "running", "attempt": 1},
            {**RUN, "state": "retrying", "attempt": 1, "error": "the disk is full"},
            {**RUN, "state": "retrying", "attempt": 1, "error": "the disk is full"},
            {**RUN, "state": "running", "attempt": 2},
            {**RUN, "state": "done", "attempt": 2, "outcome": {"ok": True}},
        ]
    )
    fake.answers["GET /jobs/runs/r1"] = lambda seen: JSONResponse(next(steps))
    shown = run("jobs", "run", "audit", "--wait", "--data", data, "--output", "json")
    assert shown.code == 0
    assert json.loads(shown.out)["outcome"] == {"ok": True}
    untouched, attempt = shown.err.splitlines()
    assert untouched.startswith("Nobody has begun it yet")
    assert attempt == "Attempt 1 failed, another follows: the disk is full"


def test_a_run_that_failed_fails_the_command(fake: Any, data: Path, run: Run) -> None:
    for arguments in (("run", "audit"), ("again", "r1")):
        shown = run("jobs", *arguments, "--wait", "--data", data)
        assert shown.code == 1
        assert "failed" in shown.out
        assert "error: audit failed: the disk is full" in shown.err
        assert "fractalops jobs again r1" in shown.err


def test_what_datahub_refused_is_listed(fake: Any, data: Path, run: Run) -> None:
    path = "GET /jobs/documents/catalog-push%3A%3Alake"
    dead = {
        **{"urn": "urn:li:dataset:x", "target": "http://gms:8080", "status": 422},
        **{"error": "no such", "head": 4, "attempts": 3},
    }
    nothing: tuple[dict[str, Any], ...] = ({}, {"dead": "nonsense"}, {"dead": []})
    for value in nothing:
        fake.says(path, {"version": 1, "value": value})
        shown = run("jobs", "letters", "catalog-push::lake", "--data", data)
        assert (shown.code, shown.out) == (0, "")
        assert "DataHub refused nothing" in shown.err
    fake.says(path, {"version": 1, "value": {"dead": [dead, "nonsense"]}})
    shown = run("jobs", "letters", "catalog-push::lake", "--data", data)
    row = ["urn:li:dataset:x", "http://gms:8080", "422", "3", "no", "such"]
    assert shown.out.splitlines()[1].split() == row


@pytest.mark.parametrize(
    "job",
    [
        Job("audit"),
        Job("sweep", "shop"),
        Job("catalog-push", None, "lake", {"server": "http://x"}),
        Job("catalog-push", "shop", "lake", {"server": "http://x"}),
    ],
    ids=lambda job: job.id,
)
def test_a_job_is_named_by_its_id(job: Job) -> None:
    named = cli_job_options.named(job.id, None, None)
    assert named == {"kind": job.kind, "project": job.project, "label": job.label}
    assert cli_job_options.job_id(named) == job.id
    assert cli_job_options.named(job.kind, job.project, job.label or None) == named


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0.2s"),
        (5, "5s"),
        (90, "90s"),
        (300, "5m"),
        (3_600, "1h"),
        (86_400, "1d"),
        (172_800, "2d"),
    ],
)
def test_intervals_are_told_as_people_say_them(seconds: float, said: str) -> None:
    assert words(seconds) == said
