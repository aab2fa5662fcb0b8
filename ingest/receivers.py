"""What all receivers do alike.

Invariant: 2xx is answered only after the payload was parsed and is durable in the inbox; every
refusal says in the sender's own terms what to do, and stores nothing. Statuses that tell a sender
to try again are used only where that helps.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final, TypeVar

from prometheus_client import Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ingest.bodies import MAX_BODY, packed_body, plain_body
from ingest.errors import IngestError, KeyRefused, QuotaExceeded
from ingest.inbox import Inbox
from ingest.outbox import Outbox
from ingest.sender import FindSender, Sender
from ingest.upstream import Arrival

KEY_HEADER: Final = "x-fractalops-key"

REQUESTS = Counter(
    "fractalops_ingest_requests_total", "Requests to the receivers.", ["signal", "outcome"]
)
ITEMS = Counter("fractalops_ingest_items_total", "Items that were durably taken in.", ["source"])
BYTES = Counter("fractalops_ingest_bytes_total", "Plain bytes that were durably taken in.")
DROPPED = Counter(
    "fractalops_ingest_dropped_total",
    "Items that were answered and not kept.",
    ["source", "reason"],
)

# Until a sender may try again where nothing says how long it will take.
_RETRY_AFTER = 5
# A small body is parsed where it stands: a thread would cost more.
_PARSED_INLINE = 64 * 1024

Parsed = TypeVar("Parsed")

log = logging.getLogger(__name__)


class Receiver:
    """The way of a request from the wire to the inbox; subclasses say what it looks like.

    ``find_sender`` says whose an ingest key is. ``max_body`` is in bytes, after decompression.
    """

    signal: str
    """What is received, as metrics and log name it."""

    source: str
    """The source that the inbox notes, for which there is a decoder."""

    key_hint: ClassVar[str]
    """Where the sender's ingest key goes."""

    key_error: ClassVar[type[KeyRefused]] = KeyRefused

    quota_error: ClassVar[type[QuotaExceeded]] = QuotaExceeded
    """What makes this receiver's clients wait."""

    upstream_kind: ClassVar[str] = ""
    """The kind of product that may be behind, and is forwarded what arrives; empty for none."""

    outbox: Outbox | None = None
    """Where what is to be forwarded waits; set by the composition root."""

    def __init__(
        self,
        inbox: Inbox,
        find_sender: FindSender,
        *,
        max_body: int = MAX_BODY,
    ) -> None:
        self._inbox = inbox
        self._find_sender = find_sender
        self._max_body = max_body

    async def answer(
        self,
        request: Request,
        take: Callable[[Request], Awaitable[Response]],
        refuse: Callable[[IngestError], Response],
    ) -> Response:
        """What ``take`` answers, or the answer that ``refuse`` makes of the error; counted."""
        try:
            response = await take(request)
            await self._forward_unkept(request)
        except ClientDisconnect:
            # Nobody is left to answer, and nothing was stored.
            REQUESTS.labels(self.signal, "client-gone").inc()
            return Response(status_code=400)
        except IngestError as error:
            return self._refused(error, refuse(error))
        self.note_success()
        return response

    def note_success(self) -> None:
        """Count a request that was taken in."""
        REQUESTS.labels(self.signal, "accepted").inc()

    def note_refusal(self, error: IngestError) -> None:
        """Count a request that was refused; what is our own fault is logged."""
        REQUESTS.labels(self.signal, error.kind).inc()
        if error.status >= 500:
            log.warning("%s refused: %s: %s", self.signal, error.title, error.detail)

    def sender_of(self, request: Request, key: str) -> Sender:
        """Who sends a request with this key. Raises :class:`KeyRefused`, and
        :class:`QuotaExceeded` while the sender has to wait."""
        sender = self.holder_of(key)
        if "origin" in request.headers:
            sender = sender.from_page()
        self.admit(sender)
        request.state.sender, request.state.key = sender, key
        return sender

    def admit(self, sender: Sender) -> None:
        """Raise :class:`QuotaExceeded` while a sender has to wait: before the body is read, which
        costs more than this."""
        self._inbox.quotas.check(sender, self.quota_error)

    def holder_of(self, key: str) -> Sender:
        """Whose a key is, wherever it came. Raises :class:`KeyRefused`."""
        sender = self._find_sender(key) if key else None
        if sender is None:
            raise self.key_refused()
        return sender

    def is_known(self, key: str) -> bool:
        """Whether a key is valid now."""
        return bool(key) and self._find_sender(key) is not None

    def key_refused(self) -> IngestError:
        """Says where the sender's key goes."""
        return self.key_error(self.key_hint)

    async def read(self, request: Request) -> bytes:
        """The plain bytes of the body, as :func:`ingest.bodies.read_body` reads them."""
        packed = await packed_body(request.stream(), request.headers, self._max_body)
        plain = await plain_body(packed, request.headers, self._max_body)
        sender: Sender | None = getattr(request.state, "sender", None)
        # Who sends may only stand in the body: then the bytes wait until it is known.
        if self.outbox is not None and (sender is None or self.is_forwarded(sender)):
            request.state.bodies = packed, plain
        return plain

    def spellings(self, key: str) -> tuple[str, ...]:
        """How an ingest key may be written in a request."""
        return (key,)

    def is_forwarded(self, sender: Sender) -> bool:
        """Whether a product is behind that what this sender sends is forwarded to."""
        outbox, kind = self.outbox, self.upstream_kind
        return outbox is not None and outbox.upstream(sender.project, kind) is not None

    def arrived(self, request: Request) -> Arrival | None:
        """What is to be forwarded of a request, once it was read and its sender is known; the same
        each time. ``None`` where nothing is behind."""
        state = request.state
        bodies: tuple[bytes, bytes] | None = getattr(state, "bodies", None)
        if bodies is not None:
            state.bodies = None
            if self.is_forwarded(state.sender):
                state.arrival = arrival_of(request, *bodies)
                state.arrival.keys = self.spellings(state.key)
        arrival: Arrival | None = getattr(state, "arrival", None)
        return arrival

    async def parsed(self, payload: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
        """What ``parse`` makes of a payload, without holding up other requests."""
        if len(payload) <= _PARSED_INLINE:
            return parse(payload)
        return await asyncio.to_thread(parse, payload)

    async def keep(
        self,
        sender: Sender,
        content_type: str,
        payload: bytes,
        items: int,
        arrival: Arrival | None = None,
    ) -> None:
        """Make a payload of so many items durable, and with it what is to be forwarded. Raises
        :class:`QuotaExceeded` where other requests of the sender came first."""
        self._inbox.quotas.check(sender, self.quota_error)
        self._inbox.quotas.charge(sender, items, len(payload))
        also = None
        if arrival is not None and self.outbox is not None:
            also = self.outbox.writing(sender, self.upstream_kind, arrival)
            arrival.kept = True
        await self._inbox.submit(sender, self.source, content_type, payload, also)
        if also is not None and self.outbox is not None:
            self.outbox.landed(also)
        ITEMS.labels(self.source).inc(items)
        BYTES.inc(len(payload))

    def drop(self, reason: str, items: int) -> None:
        """Count what is answered and not kept; ``reason`` is one of few, in kebab case."""
        DROPPED.labels(self.source, reason).inc(items)

    async def _forward_unkept(self, request: Request) -> None:
        """The product behind may want what makes no facts here."""
        arrival = self.arrived(request)
        if arrival is not None and not arrival.kept and self.outbox is not None:
            await self.outbox.put(request.state.sender, self.upstream_kind, arrival)

    def _refused(self, error: IngestError, response: Response) -> Response:
        self.note_refusal(error)
        seconds = delay_of(error)
        if seconds is not None:
            response.headers["Retry-After"] = str(seconds)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="ingest"'
        if error.status in (401, 403, 413, 415):
            # The rest of the body is not read, however much of it is still to come.
            response.headers["Connection"] = "close"
        return response


class ProblemReceiver(Receiver):
    """A receiver whose clients show what a problem document says: ``problem`` makes the answer of
    an error."""

    def __init__(
        self,
        inbox: Inbox,
        find_sender: FindSender,
        problem: Callable[[IngestError], Response],
        *,
        max_body: int = MAX_BODY,
    ) -> None:
        super().__init__(inbox, find_sender, max_body=max_body)
        self._problem = problem


def arrival_of(request: Request, packed: bytes, plain: bytes) -> Arrival:
    """A request as it came; the address it came from is what a product finds a country by."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    if request.client is not None:
        before = request.headers.get("x-forwarded-for")
        chain = ", ".join(filter(None, (before, request.client.host)))
        headers = [pair for pair in headers if pair[0] != "x-forwarded-for"]
        headers.append(("x-forwarded-for", chain))
    return Arrival(request.method, path, tuple(headers), packed, plain)


def delay_of(error: IngestError) -> int | None:
    """After how many seconds a sender may try again, ``None`` where that would not help."""
    if error.retry_after is None and error.status != 503:
        return None
    return error.retry_after or _RETRY_AFTER


def key_in_headers(request: Request) -> str:
    """The ingest key of a Bearer token or of our own header, empty without either."""
    key = bearer_of(request.headers.get("authorization", ""))
    return key or request.headers.get(KEY_HEADER, "").strip()


def bearer_of(authorization: str) -> str:
    """The token of an ``Authorization`` header, empty for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
