"""One DataHub, as its own REST emitter speaks to it: patience, and what its answers mean.

Invariant: every answer is judged here, before DataHub's client sees it. What passes is retried
within bounds; what a person has to put right ends the push and says what that is; the rest is a
refusal of what was sent. An error inside an answer of success is an error. No text of DataHub's
leaves this module but as one plain line without markup, and none that holds a secret.
Source: https://docs.datahub.com/docs/metadata-ingestion/as-a-library
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from random import Random
from typing import TypeVar

import requests
from datahub.configuration.common import GraphError, OperationalError
from datahub.emitter.mcp import MetadataChangeProposalWrapper
from datahub.emitter.mcp_builder import entity_supports_aspect
from datahub.emitter.rest_emitter import EmitMode
from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.ingestion.graph.client import DataHubGraph
from datahub.ingestion.graph.config import ClientMode, DatahubClientConfig
from datahub.metadata.schema_classes import (
    DataJobInputOutputClass,
    MetadataChangeProposalClass,
    StatusClass,
    UpstreamLineageClass,
)
from datahub.specific.status import StatusPatchBuilder
from datahub.utilities.server_config_util import RestServiceConfig
from datahub.utilities.urns.urn import guess_entity_type

from fractalops_datahub.proof import definitions
from proofs.secret_text import holds_secret
from stewards.datahub_delivery import Refusal
from stewards.errors import PushLater, PushNeedsPerson

ATTEMPTS = 5
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between attempts, whatever ``Retry-After`` says."""
MOST_TEXT, MOST_ERROR = 4_000, 200
"""Characters of an answer that are looked at, and of an error that are kept."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_OF_THE_TOKEN = frozenset({401, 403})
_OF_THE_ADDRESS = frozenset({404, 405, 407})
_MARKUP = re.compile(r"<[^<>]*>")
_CREDENTIAL = re.compile(r"\b(Bearer|Basic) [^\s\"']+")
_Answered = TypeVar("_Answered")


class _Failed(Exception):
    """A request that failed; ``status`` is 0 for an error inside a success, -1 for no answer."""

    def __init__(self, status: int, error: str, retry_after: float | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.retry_after = retry_after


class Session:
    """Speaks to the DataHub at ``url``; nothing is asked before it is used.

    ``alive`` is called before each attempt, and ``wait`` with the seconds until the next one; both
    may end the push.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        *,
        secrets: Sequence[str],
        alive: Callable[[], None],
        wait: Callable[[float], None],
        random: Random,
    ) -> None:
        self._url = url
        self._secrets = [it for it in secrets if it]
        self._alive = alive
        self._wait = wait
        self._random = random
        self._config: RestServiceConfig | None = None
        self.graph = DataHubGraph(
            DatahubClientConfig(
                server=url,
                token=token,
                timeout_sec=timeout,
                # They are made here, where the push can be stopped and tells that it lives.
                retry_max_times=0,
                openapi_ingestion=False,
                client_mode=ClientMode.INGESTION,
            )
        )
        self.graph.session.hooks["response"].append(self._judge)

    def close(self) -> None:
        self.graph.close()

    def emit(self, proposals: Sequence[MetadataChangeProposalClass], patient: bool) -> None:
        """Sends proposals; as :data:`stewards.datahub_delivery.Emit`."""
        self._open()
        self._emit(proposals, ATTEMPTS if patient else 1)

    def ask(self, question: Callable[[], _Answered]) -> _Answered:
        """The answer to something that may read from :attr:`graph`. Raises as :meth:`emit` does."""
        try:
            return self._try(question, ATTEMPTS)
        except Refusal as refusal:
            if refusal.certain:
                raise
            raise self._later(refusal.error) from refusal

    def probe(self) -> None:
        """Sends the definitions of our structured properties, which any DataHub takes."""
        proposals = [raw(unit) for unit in definitions()]
        try:
            self._emit(proposals, ATTEMPTS)
        except Refusal as refusal:
            if not refusal.certain:
                raise self._later(refusal.error) from refusal
            raise PushNeedsPerson(
                f"DataHub at {self._url} refuses the definitions of structured properties"
                f" ({refusal.status}: {refusal.error}): it has to be 1.0 or newer, and the token's"
                " owner must be allowed to manage them"
            ) from refusal

    def status(self, urn: str, *, removed: bool) -> list[MetadataChangeProposalClass]:
        """That an entity is there, or isn't any more; nothing for a kind that has no status."""
        self._open()
        kind = guess_entity_type(urn)
        if not entity_supports_aspect(kind, StatusClass):
            return []
        # Where it can, DataHub is told without its replacing a stage of life that people set.
        if self._config is not None and self._config.is_version_at_least(1, 7):
            return list(StatusPatchBuilder(urn).set_removed(removed).build())
        aspect = StatusClass(removed=removed)
        return [MetadataChangeProposalWrapper(entityUrn=urn, aspect=aspect).make_mcp()]

    def _open(self) -> None:
        """Sees, once, that this is a DataHub, and defines what the entities will carry."""
        if self._config is not None:
            return
        try:
            found = self._try(
                lambda: self.graph.session.get(f"{self._url}/config").json(),
                ATTEMPTS,
                inside_passes=False,
            )
        except Refusal as refusal:
            if not refusal.certain:
                raise self._later(refusal.error) from refusal
            said = refusal.error if refusal.status == 0 else f"{refusal.status}: {refusal.error}"
            raise self._elsewhere(f"answers {said}") from refusal
        if found.get("noCode") != "true":
            raise self._elsewhere("is something else")
        self._config = RestServiceConfig(raw_config=found)
        self.probe()

    def _emit(self, proposals: Sequence[MetadataChangeProposalClass], attempts: int) -> None:
        self._try(
            lambda: self.graph.emit_mcps(proposals, emit_mode=EmitMode.SYNC_PRIMARY), attempts
        )

    def _try(
        self, call: Callable[[], _Answered], attempts: int, *, inside_passes: bool = True
    ) -> _Answered:
        """What ``call`` returns in one of so many attempts. Raises :class:`Refusal`, or else what
        ends the push. An error inside a success may pass, unless it is said that it doesn't."""
        attempt = 1
        while True:
            self._alive()
            try:
                return call()
            except (_Failed, OperationalError, GraphError, requests.RequestException) as error:
                failed = self._failed(error)
            if failed.status in _OF_THE_TOKEN:
                raise PushNeedsPerson(
                    f"DataHub at {self._url} refuses the token ({failed.status}: {failed.error}):"
                    " give one whose owner may edit metadata"
                ) from failed
            if 300 <= failed.status < 400 or failed.status in _OF_THE_ADDRESS:
                raise self._elsewhere(f"answers {failed.status}: {failed.error}") from failed
            certain = 400 <= failed.status < 500 and failed.status not in _PASSING
            if certain or (failed.status == 0 and not inside_passes):
                raise Refusal(failed.status, failed.error, certain=True) from failed
            if attempt == attempts:
                if failed.status in (0, 500):
                    raise Refusal(failed.status, failed.error, certain=False) from failed
                raise self._later(failed.error) from failed
            self._wait(self._pause(attempt, failed.retry_after))
            attempt += 1

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds until the next attempt: as asked, or longer and longer and never quite alike."""
        if asked is not None:
            return min(asked, LONGEST_WAIT)
        usual = min(SHORTEST_WAIT * 2.0 ** (attempt - 1), LONGEST_WAIT)
        return usual * (0.5 + self._random.random() / 2)

    def _judge(self, answer: requests.Response, *_: object, **__: object) -> None:
        """A hook of the session's: raises for an answer that isn't what was asked for."""
        status, method = answer.status_code, answer.request.method
        if method == "GET" and status == HTTPStatus.NOT_FOUND and "/aspects/" in answer.url:
            return
        if not 200 <= status < 300:
            asked = answer.headers.get("Retry-After", "")
            after = float(asked) if re.fullmatch(r"\d{1,6}", asked) else None
            raise _Failed(status, self._reason(answer), after)
        if method != "GET" and not answer.content:
            return
        try:
            body = answer.json()
        except ValueError as error:
            raise _Failed(0, f"no JSON but {self._line(answer.text)!r}") from error
        if not isinstance(body, dict):
            raise _Failed(0, "JSON that is no object")
        inside = body.get("status")
        if isinstance(inside, int) and inside >= 400:
            raise _Failed(inside, self._reason(answer))
        if any(body.get(it) for it in ("exceptionClass", "error", "errors")):
            raise _Failed(0, self._reason(answer))

    def _reason(self, answer: requests.Response) -> str:
        """What an answer says went wrong."""
        try:
            body = answer.json()
        except ValueError:
            return self._line(answer.text) or str(answer.reason)
        said = body
        if isinstance(body, dict):
            said = body.get("message") or body.get("error") or body.get("errors") or "no reason"
        return self._line(said if isinstance(said, str) else str(said))

    def _line(self, text: str) -> str:
        """The first line of a text that says something, without markup and without secrets."""
        text = text[:MOST_TEXT]
        for secret in self._secrets:
            text = text.replace(secret, "...")
        text = _CREDENTIAL.sub(r"\1 ...", _MARKUP.sub("\n", text))
        lines = (
            "".join(it if it.isprintable() else " " for it in line) for line in text.split("\n")
        )
        first = next((" ".join(line.split()) for line in lines if line.strip()), "")[:MOST_ERROR]
        return "left out, for it holds what looks like a secret" if holds_secret(first) else first

    def _failed(self, error: Exception) -> _Failed:
        """What came instead of an answer."""
        if isinstance(error, _Failed):
            return error
        cause = error.__cause__ if isinstance(error, OperationalError) else error
        if isinstance(cause, requests.exceptions.InvalidHeader):
            raise PushNeedsPerson("the token of DataHub holds what no header may") from error
        if isinstance(cause, requests.RequestException) and isinstance(cause, ValueError):
            raise self._elsewhere("is no address") from error
        if isinstance(cause, requests.exceptions.SSLError) and "CERTIFICATE" in str(cause):
            raise PushNeedsPerson(
                f"the certificate of DataHub at {self._url} can't be verified: name the authority"
                " that signed it in REQUESTS_CA_BUNDLE"
            ) from error
        if isinstance(cause, GraphError):
            return _Failed(0, self._line(str(cause)))
        return _Failed(-1, f"no answer ({type(cause).__name__})")

    def _later(self, error: str) -> PushLater:
        return PushLater(f"DataHub at {self._url} can't take metadata now ({error}): push later")

    def _elsewhere(self, what: str) -> PushNeedsPerson:
        return PushNeedsPerson(
            f"{self._url} {what}. It has to be the address of DataHub's metadata service, such as"
            " http://datahub-gms:8080, or https://datahub.example/api/gms"
        )


def raw(unit: MetadataWorkUnit) -> MetadataChangeProposalClass:
    """What a unit of work proposes, as it is sent."""
    metadata = unit.metadata
    if isinstance(metadata, MetadataChangeProposalWrapper):
        return metadata.make_mcp()
    assert isinstance(metadata, MetadataChangeProposalClass)
    return metadata


def no_lineage(urn: str) -> list[MetadataChangeProposalClass]:
    """That an entity has no lineage any more; nothing for a kind that has none."""
    aspects = {
        "dataset": UpstreamLineageClass(upstreams=[]),
        "dataJob": DataJobInputOutputClass(inputDatasets=[], outputDatasets=[]),
    }
    aspect = aspects.get(guess_entity_type(urn))
    if aspect is None:
        return []
    return [MetadataChangeProposalWrapper(entityUrn=urn, aspect=aspect).make_mcp()]
