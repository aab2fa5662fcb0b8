"""What each kind of job asks of the platform and makes of the answer, whoever executes it.

The platform is a server that answers as its contract says; the tests in ``tests/live`` have the
real one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment

from stewards.activities import Activities, Pulse
from stewards.backfill_job import Backfill
from stewards.errors import GateRefused, JobFailed, JobRefused, JobStopped, UnknownSteward
from stewards.heartbeat import while_alive
from stewards.job_activities import job_activities
from stewards.jobs import BACKFILL, KINDS, Job
from stewards.orders import Attempt, Ended, Order, Performed
from stewards.outcome import Outcome
from stewards.performer import Performer
from stewards.platform_client import PlatformClient
from tests.ingest.stand_in import Asked, Said, StandIn, standing_in

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
STATUS = {"base": "http://x", "log_key": {"name": "x+1", "verifier": "x+1+A"}}
PROBLEM = {"title": "Not so", "detail": "Do it otherwise.", "status": 422}


@dataclass
class Platform:
    """Answers by method and path, and keeps documents as the real one does."""

    stand_in: StandIn
    client: PlatformClient
    answers: dict[str, Said] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=lambda: {"version": 0, "value": {}})
    noted: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        if asked.path.startswith("/jobs/documents/"):
            if asked.method == "PUT":
                body = json.loads(asked.body)
                assert body["after"] == self.document["version"]
                self.document = {"version": body["after"] + 1, "value": body["value"]}
            return Said(document=self.document)
        if asked.path.startswith("/jobs/runs/"):
            self.noted.append(json.loads(asked.body))
        return self.answers.get(f"{asked.method} {asked.path}", Said(document=STATUS))


@pytest.fixture
def platform() -> Iterator[Platform]:
    with standing_in() as stand_in:
        client = PlatformClient.connect(stand_in.url, "fot_operator", lambda seconds: None)
        found = Platform(stand_in, client)
        stand_in.answer = found.answer
        yield found
        client.close()


def swept(state: Any = "proposed", reason: str = "") -> Outcome:
    return Outcome(state, 7, 3, ("p1",), 1, 20, reason=reason)


def activities(platform: Platform, outcome: Outcome | None = None) -> Activities:
    def sweep(project: str, stopping: Callable[[], bool]) -> Outcome:
        if project != "shop":
            raise UnknownSteward(f"there is no steward of {project}")
        return outcome or swept()

    return job_activities(platform.client, sweep, {})


def test_a_sweep_tells_what_it_came_to(platform: Platform) -> None:
    told = activities(platform).run(Job("sweep", "shop"), Pulse())
    assert told["state"] == "proposed"
    assert (told["facts"], told["quads"], told["proposals"]) == (3, 20, ["p1"])
    with pytest.raises(JobRefused, match="there is no steward of gone"):
        activities(platform).run(Job("sweep", "gone"), Pulse())


@pytest.mark.parametrize("state", ["failed", "refused"])
def test_a_sweep_that_failed_is_tried_again(platform: Platform, state: Any) -> None:
    with pytest.raises(JobFailed, match="no answer"):
        activities(platform, swept(state, "no answer")).run(Job("sweep", "shop"), Pulse())


AUDITED = {"ok": True, "head": 4, "quads": 9, "checks": [{"name": "log", "ok": True}]}
BAD = {"name": "graph", "ok": False, "findings": ["a", "b", "c", "d", "e"]}
FOLDER = {"folder": "/mirror", "size": 4, "problem": None}
DONE = [
    ("audit", "/proofs/audit", AUDITED, {"ok": True, "head": 4, "quads": 9}),
    ("retention", "/evidence/retention", {"erased_entries": 1}, {"erased_entries": 1}),
    ("mirror", "/proofs/mirror", {"folders": [FOLDER]}, {"folders": [FOLDER]}),
    ("discover-assets", "/discovery", {"seen": 2}, {"seen": 2}),
    (
        "reclassify",
        "/facts/reclassify",
        {"rules": "r", "looked_at": 5, "changed": 2, "changes": ["left out"]},
        {"rules": "r", "looked_at": 5, "changed": 2},
    ),
]


@pytest.mark.parametrize(("kind", "path", "document", "told"), DONE)
def test_what_the_platform_did_is_the_outcome(
    platform: Platform, kind: str, path: str, document: Any, told: Any
) -> None:
    platform.answers[f"POST {path}"] = Said(document=document)
    assert activities(platform).run(Job(kind), Pulse()) == told


def test_findings_are_for_a_person(platform: Platform) -> None:
    report = {**AUDITED, "ok": False, "checks": [BAD]}
    platform.answers["POST /proofs/audit"] = Said(document=report)
    with pytest.raises(JobRefused, match="graph: a; graph: b; graph: c; and 2 more"):
        activities(platform).run(Job("audit"), Pulse())


def test_a_mirror_that_is_away_may_come_back(platform: Platform) -> None:
    away = {**FOLDER, "problem": "no such folder"}
    platform.answers["POST /proofs/mirror"] = Said(document={"folders": [away]})
    with pytest.raises(JobFailed, match="/mirror: no such folder") as raised:
        activities(platform).run(Job("mirror"), Pulse())
    assert not isinstance(raised.value, JobRefused)


def test_what_the_platform_refuses_is_not_tried_again(platform: Platform) -> None:
    platform.answers["POST /facts/reclassify"] = Said(422, PROBLEM)
    with pytest.raises(JobRefused, match="Do it otherwise"):
        activities(platform).run(Job("reclassify"), Pulse())


def test_each_kind_has_an_activity(platform: Platform) -> None:
    beyond = {name: activities(platform).run for name in ("backfill", "catalog-push")}
    assert job_activities(platform.client, lambda p, s: swept(), beyond).kinds == KINDS.keys()


# --- alive


def test_what_takes_long_is_heard_of_and_may_be_left() -> None:
    beats: list[Any] = []
    hold = threading.Event()
    pulse = Pulse(left="page 4", beat=beats.append, stopping=lambda: bool(beats))
    with pytest.raises(JobStopped):
        while_alive(lambda: hold.wait(30), pulse)
    hold.set()
    assert beats == ["page 4"]


def test_what_is_not_to_be_left_ends_by_itself() -> None:
    def fail() -> None:
        raise JobFailed("not this time")

    stopped = Pulse(stopping=lambda: True)
    assert while_alive(lambda: "done", stopped, leave=False) == "done"
    with pytest.raises(JobFailed, match="not this time"):
        while_alive(fail, stopped, leave=False)


# --- backfills

ROW = ["01890000-0000-7000-8000-{:012x}", "order", "2026-03-01T10:00:0{}Z", "ann", "{{}}"]
OLD = {"source": "posthog", "of": "17", "since": "2026-01-01", "token_env": "POSTHOG_TOKEN"}


@pytest.fixture
def posthog() -> Iterator[StandIn]:
    """PostHog with two events, behind the place that is asked for."""
    rows = [[part.format(number) for part in ROW] for number in range(2)]
    for number, row in enumerate(rows):
        row[2] = f"2026-03-01T10:00:0{number}Z"
    with standing_in() as stand_in:

        def answer(asked: Asked) -> Said:
            text = json.loads(asked.body)["query"]["query"]
            found = [row for row in rows if row[0] not in text and "10:00:01" not in text]
            return Said(document={"results": found})

        stand_in.answer = answer
        yield stand_in


def backfill(platform: Platform, secret: str | None = "phx_theirs") -> Backfill:
    platform.answers["POST /projects/shop/keys"] = Said(201, {"ingest_key": "foi_lent"})
    return Backfill(platform.client, platform.stand_in.url, lambda name: secret, lambda: NOW)


def test_a_backfill_goes_on_behind_what_was_acknowledged(
    platform: Platform, posthog: StandIn
) -> None:
    job = Job(BACKFILL, "shop", "old", OLD | {"url": posthog.url})
    assert backfill(platform)(job, Pulse()) == {"taken_in": 2, "not_taken_in": 0}
    sent = [asked for asked in platform.stand_in.asked if asked.path == "/batch/"]
    assert [asked.headers["authorization"] for asked in sent] == ["Bearer foi_lent"]
    assert platform.document["value"]["place"]["uuid"].endswith("1")
    assert "phx_theirs" not in str(platform.document)
    assert backfill(platform)(job, Pulse()) == {"taken_in": 0, "not_taken_in": 0}
    # Described anew, it begins anew.
    other = Job(BACKFILL, "shop", "old", {**job.arguments, "since": "2026-02-01"})
    assert backfill(platform)(other, Pulse())["taken_in"] == 2


def test_a_backfill_stops_behind_a_page_and_loses_nothing(
    platform: Platform, posthog: StandIn
) -> None:
    job = Job(BACKFILL, "shop", "old", OLD | {"url": posthog.url})
    with pytest.raises(JobStopped):
        backfill(platform)(job, Pulse(stopping=lambda: True))
    assert platform.document["value"]["place"]["uuid"].endswith("1")
    assert backfill(platform)(job, Pulse())["taken_in"] == 0


def test_a_backfill_says_what_is_to_be_set(platform: Platform, posthog: StandIn) -> None:
    job = Job(BACKFILL, "shop", "old", OLD | {"url": posthog.url})
    with pytest.raises(JobRefused, match="set the variable POSTHOG_TOKEN"):
        backfill(platform, secret=None)(job, Pulse())
    with pytest.raises(JobRefused, match="is a number"):
        backfill(platform)(Job(BACKFILL, "shop", "old", {**job.arguments, "of": "acme"}), Pulse())
    posthog.answer = lambda asked: Said(401, {"detail": "no such key"})
    with pytest.raises(JobRefused, match="no such key"):
        backfill(platform)(job, Pulse())


def test_a_lent_key_that_has_ended_is_borrowed_anew(platform: Platform, posthog: StandIn) -> None:
    platform.answers["POST /batch/"] = Said(401, {"detail": "unknown key"})
    job = Job(BACKFILL, "shop", "old", OLD | {"url": posthog.url})
    with pytest.raises(JobFailed, match="unknown key") as raised:
        backfill(platform)(job, Pulse())
    assert not isinstance(raised.value, JobRefused)


# --- as activities of Temporal

ORDER = Order("shop-1", "audit")
ATTEMPT = Attempt(ORDER, "run-1", NOW.timestamp())


def perform(platform: Platform, act: Callable[[Job, Pulse], Any]) -> Performed:
    performer = Performer(
        Activities({"audit": act, "sweep": act}), platform.client, lambda seconds: None
    )
    result: Performed = ActivityEnvironment().run(performer.perform, ATTEMPT)
    return result


def test_an_attempt_is_noted_as_it_begins(platform: Platform) -> None:
    assert perform(platform, lambda job, pulse: {"ok": True}) == Performed(1, {"ok": True})
    (noted,) = platform.noted
    assert (noted["state"], noted["attempt"], noted["executor"]) == ("running", 1, "temporal")


def raising(error: Exception) -> Callable[[Job, Pulse], Any]:
    def act(job: Job, pulse: Pulse) -> Any:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "kind", "final", "said"),
    [
        (JobRefused("set it"), "JobRefused", True, "set it"),
        (JobFailed("not now"), "JobFailed", False, "not now"),
        (GateRefused(500, "", "Broken", "so"), "GateRefused", False, "Broken (500): so"),
        (ValueError("ann@example.org"), "Fault", False, "ValueError"),
        (JobStopped("told to"), "JobStopped", False, "told to"),
    ],
)
def test_what_failed_says_a_sentence_and_whether_to_try_again(
    platform: Platform, error: Exception, kind: str, final: bool, said: str
) -> None:
    with pytest.raises(ApplicationError) as raised:
        perform(platform, raising(error))
    found = raised.value
    assert (found.type, found.non_retryable, found.details[0]) == (kind, final, 1)
    assert said in found.message
    assert "ann@example.org" not in found.message
    assert found.__cause__ is None


def test_a_platform_that_is_away_is_waited_for_and_counts_as_no_attempt(platform: Platform) -> None:
    answers = iter([Said(503, PROBLEM), Said(503, PROBLEM), Said(502, PROBLEM)])
    tried: list[int] = []

    def act(job: Job, pulse: Pulse) -> Any:
        tried.append(pulse.attempt)
        if len(tried) == 1:
            back = platform.stand_in.answer

            def away(asked: Asked) -> Said:
                said = next(answers, None)
                if said is None:
                    platform.stand_in.answer = back
                return said or back(asked)

            platform.stand_in.answer = away
            raise JobFailed("no answer")
        return {"ok": True}

    assert perform(platform, act) == Performed(1, {"ok": True})
    assert tried == [1, 1]


def test_one_that_is_cancelled_is_no_failure(platform: Platform) -> None:
    environment = ActivityEnvironment()

    def act(job: Job, pulse: Pulse) -> Any:
        environment.cancel()
        return while_alive(lambda: threading.Event().wait(30), pulse)

    performer = Performer(Activities({"audit": act}), platform.client)
    with pytest.raises(CancelledError):
        environment.run(performer.perform, ATTEMPT)


@pytest.mark.parametrize(
    ("status", "final"), [(404, True), (422, True), (401, False), (500, False)]
)
def test_a_note_is_repeated_where_that_may_help(
    platform: Platform, status: int, final: bool
) -> None:
    performer = Performer(Activities({}), platform.client)
    ended = Ended(ORDER, "run-1", 0.0, 1.0, 2, {"ok": True})
    ActivityEnvironment().run(performer.note, ended)
    assert (platform.noted[0]["state"], platform.noted[0]["attempt"]) == ("done", 2)
    platform.answers["PUT /jobs/runs/run-1"] = Said(status, PROBLEM | {"status": status})
    with pytest.raises(ApplicationError) as raised:
        ActivityEnvironment().run(performer.note, ended)
    assert raised.value.non_retryable == final
