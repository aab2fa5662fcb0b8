"""What can go wrong while the world comes in.

Invariant: every error that a sender or an analyst can cause carries the HTTP status, a stable
kebab-case kind and a sentence that tells the caller what to do; nothing here names an internal
path, a key or a payload's content.

    IngestError
    ├── BodyError                 the bytes on the wire
    │   ├── BodyTooLarge          413
    │   ├── BodyCorrupt           400
    │   └── EncodingUnsupported   415
    ├── PayloadError              what the bytes say
    │   ├── PayloadUndecodable    400
    │   └── ContentTypeUnsupported 415
    ├── KeyRefused                401
    │   └── DsnRefused            403  what a Sentry client expects instead
    ├── QuotaExceeded             429  the project sends more than it may
    │   └── QuotaDeferred         503  for clients that don't try again on 429
    ├── UpstreamInvalid           422  a product behind a project, as it was stated
    ├── InboxError                the durable queue
    │   ├── InboxFull             503  the disk takes no more
    │   ├── InboxBehind           503  facts lag too far behind
    │   ├── InboxClosed           503
    │   ├── InboxUnusable         at start: corrupt, foreign or made by a newer version
    │   ├── EvidenceCorrupt       a stored batch does not match its commitment
    │   └── EvidenceErased        its key was destroyed
    ├── WarehouseError            the facts
    │   ├── QueryInvalid          400
    │   ├── QueryRefused          403
    │   ├── QueryLimitReached     503  time or memory
    │   ├── WarehouseBusy         503
    │   └── WarehouseUnavailable  503
    └── HistoryError              what was recorded elsewhere is being brought in
        ├── HistoryUnreadable     a file or an answer is damaged, or of no known format
        │   └── AnswerTooLarge    a smaller page may be asked for
        ├── PeerRefused           a server refuses whatever we would send or ask next
        └── PeerUnavailable       a server did not answer in all the time it was given
"""

from __future__ import annotations

from typing import ClassVar


class IngestError(Exception):
    """The root. ``status`` is the HTTP answer; ``retry_after`` in seconds where waiting helps."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "ingest"
    title: ClassVar[str] = "The request could not be taken in"

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class BodyError(IngestError):
    """The request body could not be read."""


class BodyTooLarge(BodyError):
    status = 413
    kind = "body-too-large"
    title = "The body is too large"


class BodyCorrupt(BodyError):
    status = 400
    kind = "body-corrupt"
    title = "The body does not match its Content-Encoding"


class EncodingUnsupported(BodyError):
    status = 415
    kind = "content-encoding-unsupported"
    title = "The Content-Encoding is not supported"


class PayloadError(IngestError):
    """The body was read but is not what it claims to be."""


class PayloadUndecodable(PayloadError):
    status = 400
    kind = "payload-undecodable"
    title = "The payload could not be decoded"


class ContentTypeUnsupported(PayloadError):
    status = 415
    kind = "content-type-unsupported"
    title = "The Content-Type is not supported"


class KeyRefused(IngestError):
    status = 401
    kind = "ingest-key-refused"
    title = "A valid ingest key is needed"


class DsnRefused(KeyRefused):
    status = 403


class UpstreamInvalid(IngestError):
    """Something is missing of an upstream, or is not what it has to be."""

    status = 422
    kind = "upstream-invalid"
    title = "The upstream can't be used"


class QuotaExceeded(IngestError):
    status = 429
    kind = "quota-exceeded"
    title = "The project sends more than its quota"


class QuotaDeferred(QuotaExceeded):
    status = 503


class InboxError(IngestError):
    """The durable queue could not serve."""

    kind = "inbox"
    title = "The inbox could not serve"


class InboxFull(InboxError):
    status = 503
    kind = "storage-full"
    title = "The disk of the server is full"


class InboxBehind(InboxError):
    status = 503
    kind = "inbox-behind"
    title = "The server is catching up"


class InboxClosed(InboxError):
    status = 503
    kind = "shutting-down"
    title = "The server is shutting down"


class InboxUnusable(InboxError):
    """Found at start: the file is damaged, is something else, or is from a newer version."""


class EvidenceCorrupt(InboxError):
    kind = "evidence-corrupt"
    title = "A stored evidence batch is damaged"


class EvidenceErased(InboxError):
    status = 410
    kind = "evidence-erased"
    title = "The payload of this evidence batch was erased"


class WarehouseError(IngestError):
    """The facts could not be written or read."""

    kind = "warehouse"
    title = "The facts could not be reached"


class QueryInvalid(WarehouseError):
    status = 400
    kind = "facts-query-invalid"
    title = "The query is not valid SQL here"


class QueryRefused(WarehouseError):
    status = 403
    kind = "facts-query-refused"
    title = "Only reading the facts is allowed"


class QueryLimitReached(WarehouseError):
    status = 503
    kind = "facts-query-limit"
    title = "The query reached a limit"


class WarehouseBusy(WarehouseError):
    status = 503
    kind = "facts-busy"
    title = "Too many queries are running"


class WarehouseUnavailable(WarehouseError):
    status = 503
    kind = "facts-unavailable"
    title = "The facts can't be reached"


class HistoryError(IngestError):
    """What was recorded elsewhere could not be brought in; what was acknowledged so far stays."""

    title = "The history could not be brought in"


class HistoryUnreadable(HistoryError):
    title = "The history could not be read"


class AnswerTooLarge(HistoryUnreadable):
    title = "The answer is too large"


class PeerRefused(HistoryError):
    title = "The server refuses this"


class PeerUnavailable(HistoryError):
    title = "The server did not answer"
