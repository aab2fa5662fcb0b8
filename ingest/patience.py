"""Requests to another server, with the patience that it asks for.

Invariant: a request is repeated only where that may help (429, 5xx, no connection, an answer that
was cut off; but not a server that never answered at all), never before the server's own
Retry-After, and for no longer than the patience lasts; redirects are not followed, so that a
credential goes nowhere but to the server named; an answer is never held beyond its limit.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from ingest.errors import AnswerTooLarge, HistoryUnreadable, PeerRefused, PeerUnavailable

PATIENCE: Final = 600.0
"""Seconds that one request may wait altogether between its attempts."""

MAX_ANSWER: Final = 256 * 1024 * 1024

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_ASKS_FOR_PATIENCE = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


@dataclass(frozen=True)
class Answer:
    """What a server answered, read to its end."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def said(self) -> str:
        """What a person may be shown of a refusal: a problem's detail, or the first words."""
        try:
            document = json.loads(self.content)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            for name in ("detail", "message", "error"):
                if isinstance(document.get(name), str):
                    return str(document[name])[:500]
        return self.content[:200].decode("utf-8", "replace").strip()


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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep, self._clock, self._tell = sleep, clock, tell
        self._patience, self._max_answer = patience, max_answer
        self._known = False
        if not (bearer.isascii() and bearer.isprintable() and bearer.strip()):
            raise PeerRefused(f"the credential for {self.url} is empty or no credential")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {bearer}", "User-Agent": "fractalops"},
                timeout=httpx.Timeout(seconds, connect=min(seconds, 10.0)),
                follow_redirects=False,
                trust_env=proxies,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise PeerRefused(f"{self.url} is no URL of a server: {error}") from error

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
        waited, wait = 0.0, _FIRST_WAIT
        while True:
            asked = None
            try:
                with self._http.stream(
                    method, path, params=parameters, content=content, headers=headers
                ) as response:
                    answer = self._read(response)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise PeerRefused(f"{self.url} is no URL of a server: {error}") from error
            except (httpx.TransportError, httpx.DecodingError) as error:
                if isinstance(error, httpx.ConnectError) and not self._known:
                    raise PeerUnavailable(
                        f"no server answers at {self.url}: check the address, and that it runs"
                    ) from error
                why = f"{self.url} can't be reached ({type(error).__name__})"
            else:
                self._known = True
                if answer.status not in _ASKS_FOR_PATIENCE:
                    return answer
                why = f"{self.url} answers {answer.status}"
                asked = self._retry_after(answer.headers.get("retry-after", ""))
            pause = wait if asked is None else max(asked, _FIRST_WAIT)
            if waited + pause > self._patience:
                raise PeerUnavailable(
                    f"{why}, for {waited:.0f} seconds of waiting; what was acknowledged is kept:"
                    " run the same command again to go on from there"
                )
            self._tell(f"{why}; trying again in {pause:.0f} s")
            self._sleep(pause)
            waited, wait = waited + pause, min(wait * 2, _LONGEST_WAIT)

    def _read(self, response: httpx.Response) -> Answer:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > self._max_answer:
                raise AnswerTooLarge(f"{self.url} answered with more than {self._max_answer} bytes")
        return Answer(response.status_code, response.headers, bytes(content))

    def _retry_after(self, said: str) -> float | None:
        """Seconds, of a number or a date."""
        if said.isascii() and said.isdigit() and len(said) < 10:
            return float(said)
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - self._clock()).total_seconds())


def checked(answer: Answer, what: str) -> Any:
    """The JSON value of a successful answer; ``what`` was asked for, for a message.

    Raises :class:`PeerRefused` and :class:`HistoryUnreadable`.
    """
    if not 200 <= answer.status < 300:
        raise PeerRefused(f"{what}: {answer.status} {answer.said()}".rstrip())
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise HistoryUnreadable(f"{what}: the answer is not JSON; check the address") from error
