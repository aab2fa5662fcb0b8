"""Requests to another server, with the patience that it asks for.

Invariant: a request is repeated only where that may help (429, 5xx, no connection, an answer that
was cut off; but not a server that never answered at all), never before the server's own
Retry-After, and for no longer than the patience lasts; redirects are not followed, so that a
credential goes nowhere but to the server named; an answer is never held beyond its limit.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from ingest.errors import AnswerTooLarge, HistoryUnreadable, PeerRefused, PeerUnavailable
from runtime.errors import (
    HttpAway,
    HttpRefused,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreadable,
    UrlError,
)
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient, Transport
from runtime.http_messages import Answer, Ask, Limits
from runtime.http_retries import ONCE, retry_after

PATIENCE: Final = 600.0
"""Seconds that one request may wait altogether between its attempts."""

MAX_ANSWER: Final = 256 * 1024 * 1024

_SIGNS_OF_LIFE: Final = 60
"""An attempt may take so many times as long as one sign of life."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_ASKS_FOR_PATIENCE = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class Peer:
    """A server as one caller; a context manager.

    ``bearer`` is the credential. ``sleep`` gets seconds, ``tell`` what is waited for and how long,
    for a person. ``clock`` tells the time that a Retry-After with a date is measured against.
    An attempt may take ``seconds`` without a sign of life.
    """

    def __init__(
        self,
        url: str,
        bearer: str,
        *,
        sleep: Callable[[float], None],
        clock: Callable[[], datetime],
        tell: Callable[[str], None] = lambda text: None,
        proxies: bool = True,
        patience: float = PATIENCE,
        seconds: float = 60.0,
        max_answer: int = MAX_ANSWER,
        transport: Transport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep, self._clock, self._tell = sleep, clock, tell
        self._patience, self._max_answer = patience, max_answer
        self._known = False
        if not (bearer.isascii() and bearer.isprintable() and bearer.strip()):
            raise PeerRefused(f"the credential for {self.url} is empty or no credential")
        try:
            self._target = PeerUrl.parse(self.url)
        except UrlError as error:
            raise PeerRefused(f"{self.url} is no URL of a server: {error}") from error
        self._headers = {"Authorization": f"Bearer {bearer}"}
        # What is asked again is decided here, and for longer than the client itself would.
        self._http = HttpClient(
            limits=Limits(
                connect=min(seconds, 10.0),
                quiet=seconds,
                total=seconds * _SIGNS_OF_LIFE,
                answer=max_answer,
            ),
            retries=ONCE,
            circuit=None,
            proxies=proxies,
            transport=transport,
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *raised: object) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = "application/json",
    ) -> Answer:
        """The answer that is no request for patience, whatever else it says.

        Raises :class:`PeerUnavailable` once patience is out, :class:`AnswerTooLarge` for an
        answer beyond the limit and :class:`PeerRefused` for an address that is none.
        """
        headers = {} if content is None else {"Content-Type": media_type}
        ask = Ask(
            method,
            self._target,
            path,
            query=parameters or {},
            headers=self._headers | headers,
            content=content or b"",
        )
        waited, wait = 0.0, _FIRST_WAIT
        while True:
            asked = None
            try:
                answer = self._http.send(ask)
            except HttpRefused as error:
                raise PeerRefused(f"{self.url} is no URL of a server: {error}") from error
            except HttpTooLarge as error:
                raise AnswerTooLarge(
                    f"{self.url} answered with more than {error.limit} bytes"
                ) from error
            except (HttpAway, HttpUnreadable) as error:
                why = f"{self.url} can't be reached ({_what(error)})"
                if not self._known and _nobody(error):
                    raise PeerUnavailable(
                        f"no server answers at {self.url}: check the address, and that it runs"
                    ) from error
            else:
                self._known = True
                if answer.status not in _ASKS_FOR_PATIENCE:
                    return answer
                why = f"{self.url} answers {answer.status}"
                asked = retry_after(answer.headers.get("retry-after", ""), self._clock())
            pause = wait if asked is None else max(asked, _FIRST_WAIT)
            if waited + pause > self._patience:
                raise PeerUnavailable(
                    f"{why}, for {waited:.0f} seconds of waiting; what was acknowledged is kept:"
                    " run the same command again to go on from there"
                )
            self._tell(f"{why}; trying again in {pause:.0f} s")
            self._sleep(pause)
            waited, wait = waited + pause, min(wait * 2, _LONGEST_WAIT)


def said(answer: Answer) -> str:
    """What a person may be shown of a refusal: a problem's detail, or the first words."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        for name in ("detail", "message", "error"):
            if isinstance(document.get(name), str):
                return str(document[name])[:500]
    return answer.content[:200].decode("utf-8", "replace").strip()


def checked(answer: Answer, what: str) -> Any:
    """The JSON value of a successful answer; ``what`` was asked for, for a message.

    Raises :class:`PeerRefused` and :class:`HistoryUnreadable`.
    """
    if not 200 <= answer.status < 300:
        raise PeerRefused(f"{what}: {answer.status} {said(answer)}".rstrip())
    try:
        return answer.json()
    except ValueError as error:
        raise HistoryUnreadable(f"{what}: the answer is not JSON; check the address") from error


def _nobody(error: HttpAway | HttpUnreadable) -> bool:
    """Whether nothing was there to answer, so that waiting for it is no use."""
    return isinstance(error, HttpAway) and not isinstance(error, HttpTimeout) and not error.reached


def _what(error: HttpAway | HttpUnreadable) -> str:
    return error.kind if isinstance(error, HttpAway) else "its answer is damaged"
