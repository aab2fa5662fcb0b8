"""An answer whose body is still on its way.

Invariant: what is held of it is a piece, or a line that is being read; what is read of it is within
the limit of its request, in bytes and in time.
Specification: https://www.rfc-editor.org/rfc/rfc9112#name-message-body
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import httpx

from runtime.errors import HttpTooLarge
from runtime.http_body import Unpacking
from runtime.http_connections import within
from runtime.http_messages import MEBIBYTE, Answer
from runtime.http_steps import TROUBLE, Step, to_error

LONGEST_LINE: Final = 16 * MEBIBYTE


class OpenAnswer:
    """What :meth:`runtime.http_client.HttpClient.stream` gives: its body can be read once."""

    def __init__(
        self,
        step: Step,
        response: httpx.Response,
        limit: int | None,
        left: Callable[[], float] | None,
        failed: Callable[[str], None],
    ) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.reason = response.reason_phrase
        self.method = step.request.method
        self.origin = step.origin
        self._path = step.request.url.path
        self._response = response
        self._limit = limit
        self._left = left
        self._failed = failed

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, unpacked. Raises :class:`HttpError`."""
        packed = self.headers.get("content-encoding", "")
        unpacking = Unpacking(packed, self.origin, self._limit)
        if self.method != "HEAD":
            unpacking.declared(self.headers.get("content-length", ""))
        stream = iter(self._response.stream)  # type: ignore[arg-type]
        while True:
            try:
                with within(self._left):
                    if self._left is not None and self._left() <= 0:
                        raise httpx.ReadTimeout("the time of the request is over")
                    data = next(stream, None)
            except TROUBLE as error:
                self._failed(self.origin)
                raise to_error(error, self.origin, sent=True) from error
            if data is None:
                break
            yield from unpacking.feed(data)
        unpacking.end()

    def lines(self) -> Iterator[str]:
        """The body as lines of UTF-8, without their ends. Raises :class:`HttpError`."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise HttpTooLarge(
                    f"{self.origin} answers with a line without an end", LONGEST_LINE
                )
            for line in whole:
                yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if rest:
            yield rest.removesuffix(b"\r").decode("utf-8", "replace")

    def read(self) -> Answer:
        """The whole of it. Raises :class:`HttpError`."""
        content = b"".join(self.chunks())
        return Answer(
            self.status,
            self.headers,
            content,
            self.reason,
            self.method,
            self.origin,
            self._path,
        )

    def close(self) -> None:
        self._response.close()
