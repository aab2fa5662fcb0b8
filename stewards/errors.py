"""The errors of the stewards floor.

::

    StewardError
    ├── UnknownSteward       no steward of this name is at work
    ├── NotConfigured        something that must be configured isn't, or can't be used
    ├── JobInvalid           there is no such job, or not with these arguments
    ├── JobFailed            a job couldn't be done: another attempt may succeed
    │   ├── JobStopped       it was told to stop, and goes on where it was
    │   ├── PushLater        DataHub or the catalog didn't answer, or was too busy
    │   └── JobRefused       another attempt won't: a person has something to do first
    │       └── PushNeedsPerson  an address, a token, DataHub, or what is installed
    ├── GateUnreachable      no answer came: refused connection, time-out, broken transfer
    ├── GateRefused          the platform answered with a problem (RFC 9457)
    │   ├── NotAllowed       401, 403: the token or the grant is missing
    │   ├── SignatureRefused 422: the steward's key is retired, or not the one it was
    │   ├── DraftRefused     400, 413, 422: this delta can't be accepted as it is
    │   ├── OutdatedDraft    409: the graph moved since the draft was made
    │   ├── LimitReached     a question about the facts took too much time or memory
    │   └── GateBusy         429, 503: still busy after the bounded retries
    ├── UnexpectedAnswer     a success whose body isn't what the contract says
    └── ModelAnswerRefused   a chat model's words can't be used: the plain ones stand

A draft that stays "awaiting decision" is an answer, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN_RESULTS = 3


class StewardError(Exception):
    """Anything that ends a steward's cycle early; the message says what to do next."""


class UnknownSteward(StewardError):
    """No steward has this name; the message lists those at work."""


class NotConfigured(StewardError):
    """What has to be configured isn't, or can't be used; the message says what is missing."""


class JobInvalid(StewardError):
    """No job is described like this; the message says what would be."""


class JobFailed(StewardError):
    """A job couldn't be done this time; the message says what kept it from being done."""


class JobRefused(JobFailed):
    """A job can't be done as things are; the message says what a person has to do."""


class JobStopped(JobFailed):
    """A job was told to stop before it was done; its next attempt goes on there."""


class PushLater(JobFailed):
    """A push to DataHub ended early; nothing that it had to tell is forgotten: push again later."""


class PushNeedsPerson(JobRefused):
    """A push to DataHub won't come further before somebody did what the message says."""


class DiscoveryBusy(StewardError):
    """It is being looked round already, for somebody else: ask again in a moment."""


class GateUnreachable(StewardError):
    """The platform could not be reached, so nothing is known about what it did."""


class UnexpectedAnswer(StewardError):
    """The platform answered with success, but not with what its contract promises."""


class ModelAnswerRefused(StewardError):
    """A chat model gave no answer, or one that isn't taken; the message says why."""


@dataclass(frozen=True)
class ReportResult:
    """One result of a validation report, as the gate writes it."""

    focus: str
    path: str
    value: str
    message: str

    def __str__(self) -> str:
        where = f"{self.focus} {self.path}".strip()
        return f"{where}: {self.message}" if where else self.message


class GateRefused(StewardError):
    """The platform refused a request and said why.

    ``status`` is the HTTP status, ``kind`` the problem type, ``results`` the validation results
    where the answer carried a report.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        results: Sequence[ReportResult] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.results = tuple(results)
        self.retry_after = retry_after
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"{self.title} ({self.status})"
        if self.detail:
            text += f": {self.detail}"
        shown = [str(result) for result in self.results[:SHOWN_RESULTS]]
        left = len(self.results) - len(shown)
        if shown:
            text += " [" + "; ".join(shown) + (f"; and {left} more" if left else "") + "]"
        return text


class NotAllowed(GateRefused):
    """The token is not known, or its principal has no grant for this."""


class SignatureRefused(GateRefused):
    """The signature was not taken, as when the key was retired meanwhile: nothing is wrong with the
    draft, and the next cycle signs with the key that holds then."""


class DraftRefused(GateRefused):
    """The delta was not accepted: it can't be read, is too large, or breaks a shape."""


class OutdatedDraft(GateRefused):
    """Something else changed the same things first: read again and draft again."""


class LimitReached(GateRefused):
    """The warehouse gave up on a question: ask about fewer facts."""


class GateBusy(GateRefused):
    """The platform asks for patience and still did after every retry."""


_BY_KIND: Mapping[str, type[GateRefused]] = {
    "facts-query-limit": LimitReached,
    "signature-refused": SignatureRefused,
}


def refusal(
    status: int, problem: Mapping[str, Any], retry_after: float | None = None
) -> GateRefused:
    """The typed error for a problem document with this status."""
    kinds: dict[int, type[GateRefused]] = {
        400: DraftRefused,
        401: NotAllowed,
        403: NotAllowed,
        409: OutdatedDraft,
        413: DraftRefused,
        422: DraftRefused,
        429: GateBusy,
        503: GateBusy,
    }
    kind = str(problem.get("type") or "about:blank")
    error = next(
        (error for name, error in _BY_KIND.items() if kind.endswith(f"/{name}")),
        kinds.get(status, GateRefused),
    )
    return error(
        status,
        kind,
        str(problem.get("title") or "The platform refused the request"),
        str(problem.get("detail") or ""),
        report_results(problem),
        retry_after,
    )


def report_results(body: Mapping[str, Any]) -> tuple[ReportResult, ...]:
    """The validation results in a problem or proposal: at the top, or under ``report``."""
    report = body.get("report")
    given = report.get("results") if isinstance(report, Mapping) else body.get("results")
    if not isinstance(given, Sequence) or isinstance(given, str):
        return ()
    return tuple(
        ReportResult(*(str(result.get(key) or "") for key in ("focus", "path", "value", "message")))
        for result in given
        # Warnings and infos are told, and stop nothing.
        if isinstance(result, Mapping) and result.get("severity") in (None, "Violation")
    )
