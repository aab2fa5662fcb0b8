"""The platform as who executes its jobs sees it: what is wanted, and where runs stand.

Invariant: this speaks as an operator, through the same HTTP API as everyone; what an activity does
for a project's steward goes through :class:`stewards.gate_client.GateClient` with that steward's
own token. Nothing is asked again that isn't harmless to ask twice.
Contract: docs/http.md, "Jobs".
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from proofs.checkpoint import VerifierKey
from proofs.errors import ProofError
from runtime.http_messages import Answer
from stewards.errors import GateRefused, JobFailed, JobInvalid
from stewards.exchange import Exchange, Json, object_in, unexpected
from stewards.job_store import OPEN, Document, Run
from stewards.jobs import Job, Schedule

LONGEST_ANSWER = 6 * 3600.0
"""Seconds that an audit, or facts that are classified again, may take."""


@dataclass(frozen=True)
class WantedSchedule:
    """A schedule; whether somebody ``set`` it, or it is there without being asked for."""

    schedule: Schedule
    set: bool


@dataclass(frozen=True)
class WantedJobs:
    """What is wanted of an executor: ``woken`` are the projects with something to look at, ``None``
    for all of them; ``runs`` those that haven't ended, the oldest first; ``changed`` says by
    project from which batch on facts are to be read again; ``token`` is to ask with next. What this
    version doesn't know how to do is in ``unknown``, one sentence each."""

    token: str
    woken: frozenset[str] | None
    schedules: tuple[WantedSchedule, ...]
    runs: tuple[Run, ...]
    changed: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Which platform this is: what its IRIs begin with, and its log's first key: name and
    hash, and the whole of it."""

    base: str
    label: str
    key: str

    @property
    def name(self) -> str:
        """What tells it from all others, in letters, digits and hyphens."""
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        return f"{re.sub('[^A-Za-z0-9]+', '-', self.label)[:40].strip('-')}-{digest[:8]}"


class PlatformClient:
    """Any thread may call. ``exchange`` speaks with an operator's token."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @classmethod
    def connect(
        cls, url: str, token: str, sleep: Callable[[float], object] = time.sleep
    ) -> PlatformClient:
        """A client of the platform at ``url`` (no trailing slash) with this operator's token."""
        return cls(Exchange(url, token, sleep, quiet=LONGEST_ANSWER))

    def close(self) -> None:
        self._exchange.close()

    # --- what is wanted

    def identity(self) -> Identity:
        answer = self._exchange.send("GET", "/status")
        body = object_in(answer)
        try:
            key = body["log_key"]
            # Its first key stays, however often the log is handed to another.
            first = str((key.get("former") or [key["verifier"]])[0])
            return Identity(str(body["base"]), "+".join(first.split("+", 2)[:2]), first)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise unexpected(answer, f"no base and log_key ({error!r})") from error

    def restricted_projects(self) -> frozenset[str]:
        """The slugs of the projects that not everybody may read."""
        answer = self._exchange.send("GET", "/status")
        try:
            return frozenset(
                str(item["slug"]) for item in object_in(answer)["projects"] if item["restricted"]
            )
        except (KeyError, TypeError) as error:
            raise unexpected(answer, f"no projects ({error!r})") from error

    def wanted(self, after: str | None, wait: float) -> WantedJobs:
        """What is wanted, once something changed after the token, or in ``wait`` seconds."""
        parameters = {"wait": f"{wait:g}"} | ({"after": after} if after else {})
        answer = self._exchange.send(
            "GET",
            "/jobs/wanted",
            params=parameters,
            quiet=wait + 30.0,
        )
        body = object_in(answer)
        try:
            woken = body["woken"]
            schedules, strange = _read(body["schedules"], _schedule)
            runs, stranger = _read(body["runs"], _run)
            return WantedJobs(
                str(body["token"]),
                None if woken is None else frozenset(map(str, woken)),
                tuple(schedules),
                tuple(runs),
                {str(project): int(seq) for project, seq in body["changed"].items()},
                (*strange, *stranger),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unexpected(answer, f"not what is wanted ({error!r})") from error

    def steward_token(self, name: str) -> str:
        """The token that this steward acts with, until the platform's process ends."""
        answer = self._exchange.send("POST", f"/stewards/{_segment(name)}/token")
        return _text(answer, "token")

    def enrolled_keys(self, steward: str) -> frozenset[str]:
        """The names of the keys that this steward may sign with now."""
        answer = self._exchange.send("GET", f"/stewards/{_segment(steward)}/keys")
        body = object_in(answer)
        try:
            return frozenset(
                VerifierKey.parse(item["public_key"]).label
                for item in body["items"]
                if item["active"]
            )
        except (KeyError, TypeError, ProofError) as error:
            raise unexpected(answer, f"no keys ({error!r})") from error

    def will_be_read(self, steward: str, since: int) -> None:
        """Tell that this steward will read its facts again from this batch on."""
        self._exchange.send(
            "POST", f"/stewards/{_segment(steward)}/rereading", json={"since": since}
        )

    # --- what became of it

    def note(self, run: Run) -> None:
        """Tell where a run stands; one that has ended stays as it ended."""
        self._exchange.send(
            "PUT",
            f"/jobs/runs/{_segment(run.id)}",
            json={
                "kind": run.job.kind,
                "project": run.job.project,
                "label": run.job.label,
                "arguments": dict(run.job.arguments),
                "state": run.state,
                "attempt": run.attempt,
                "executor": run.executor,
                "began": _iso(run.began),
                "ended": None if run.ended is None else _iso(run.ended),
                "outcome": None if run.outcome is None else dict(run.outcome),
                "error": run.error,
            },
        )

    def document(self, job: str) -> Document:
        """What a job remembers between its runs."""
        answer = self._exchange.send("GET", f"/jobs/documents/{_segment(job)}")
        body = object_in(answer)
        if not isinstance(body.get("version"), int) or not isinstance(body.get("value"), dict):
            raise unexpected(answer, "no version and value")
        return Document(body["version"], body["value"])

    def keep_document(self, job: str, value: Mapping[str, Any], *, after: int) -> int:
        """Remember this in the place of version ``after``; the new version. Raises
        :class:`JobFailed` where another one is there by now."""
        try:
            answer = self._exchange.send(
                "PUT",
                f"/jobs/documents/{_segment(job)}",
                json={"after": after, "value": dict(value)},
            )
        except GateRefused as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            raise JobFailed(
                f"another run of {job} went on meanwhile: this one begins again behind it"
            ) from error
        version = object_in(answer).get("version")
        if not isinstance(version, int):
            raise unexpected(answer, "no version")
        return version

    # --- what activities ask for

    def lend_key(self, project: str) -> str:
        """An ingest key of the project, until the platform's process ends."""
        answer = self._exchange.send(
            "POST", f"/projects/{_segment(project)}/keys", params={"lent": "true"}
        )
        return _text(answer, "ingest_key")

    def audit(self) -> Json:
        return object_in(self._exchange.send("POST", "/proofs/audit"))

    def mirror(self) -> Json:
        return object_in(self._exchange.send("POST", "/proofs/mirror"))

    def retain(self) -> Json:
        return object_in(self._exchange.send("POST", "/evidence/retention"))

    def discover(self) -> Json:
        return object_in(self._exchange.send("POST", "/discovery"))

    def reclassify(self, project: str | None, since: int) -> Json:
        return object_in(
            self._exchange.send(
                "POST", "/facts/reclassify", json={"project": project, "since": since}
            )
        )


def job_of(item: Mapping[str, Any]) -> Job:
    """The job of a document that names its kind, project, label and arguments. Raises
    :class:`JobInvalid`."""
    return Job(
        str(item["kind"]), item.get("project"), str(item.get("label") or ""), item["arguments"]
    )


def _read(items: list[Any], of: Callable[[Mapping[str, Any]], Any]) -> tuple[list[Any], list[str]]:
    """What could be read; what a newer platform wants, and this version doesn't know, is said."""
    found, strange = [], []
    for item in items:
        try:
            found.append(of(item))
        except JobInvalid as error:
            strange.append(str(error))
    return found, strange


def _schedule(item: Mapping[str, Any]) -> WantedSchedule:
    every, offset = float(item["every"]), float(item["offset"])
    return WantedSchedule(
        Schedule(job_of(item), every, offset, bool(item["paused"])), bool(item["set"])
    )


def _run(item: Mapping[str, Any]) -> Run:
    state = item["state"]
    if state not in OPEN:
        raise ValueError(f"a run that is {state!r} has ended")
    return Run(
        str(item["id"]),
        job_of(item),
        state,
        datetime.fromisoformat(item["began"]).timestamp(),
        int(item["attempt"]),
        str(item["executor"]),
        str(item["asked_by"]),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _segment(text: str) -> str:
    return quote(text, safe="")


def _text(answer: Answer, name: str) -> str:
    value = object_in(answer).get(name)
    if not isinstance(value, str) or not value:
        raise unexpected(answer, f"no {name}")
    return value
