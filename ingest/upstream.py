"""The product behind a project: where what arrives is forwarded to, and how a request is put there.

Invariant: a request that came with the product's own key is forwarded byte for byte. One that came
with a key of this server has that key replaced by the product's where it is stated, and nothing
else; where that can't be done it is not forwarded: no key of ours leaves this server. Where the
body has to be touched it is sent unpacked.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-message-forwarding
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ingest.errors import UpstreamInvalid
from runtime.errors import HttpRefused, UrlError
from runtime.http_addresses import PeerUrl, literal

KINDS: Final = ("posthog", "sentry", "otlp")
"""PostHog; Sentry or GlitchTip; whatever takes OTLP over HTTP, such as a Collector."""

# What a product looks at. What says how this connection is used stays on this connection.
_FORWARDED = frozenset(
    {"accept", "authorization", "content-encoding", "content-type", "origin", "referer"}
    | {"user-agent", "x-forwarded-for", "x-sentry-auth", "traceparent", "tracestate", "baggage"}
)
_FORWARDED_PREFIXES = ("x-posthog-", "sentry-")
_SENTRY_PATH = re.compile(r"/api/[^/]*/")
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Upstream:
    """``url`` has no slash at its end; ``key`` is the product's own, which its clients send, and
    ``number`` that of its project in a DSN; ``headers`` go with every request."""

    kind: str
    url: str
    key: str = field(default="", repr=False)
    number: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self) -> str:
        """The upstream as JSON, secrets included."""
        return json.dumps(
            {
                "kind": self.kind,
                "url": self.url,
                "key": self.key,
                "number": self.number,
                "headers": dict(self.headers),
            }
        )

    @classmethod
    def parse(cls, document: str) -> Upstream:
        """The upstream that :meth:`document` wrote."""
        return cls(**json.loads(document))


def upstream(
    kind: str, url: str, key: str = "", headers: Mapping[str, str] = _NO_HEADERS
) -> Upstream:
    """An upstream as a person states it; of Sentry the URL is a DSN. Raises
    :class:`UpstreamInvalid` saying what is missing."""
    if kind not in KINDS:
        raise UpstreamInvalid(f"the kind is one of {', '.join(KINDS)}, not {kind!r}")
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    except ValueError as error:
        raise UpstreamInvalid(f"this is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not place or parts.query or parts.fragment:
        raise UpstreamInvalid("the URL begins with http:// or https:// and has no query")
    if ":" in (parts.hostname or ""):
        place = f"[{parts.hostname}]" + (f":{parts.port}" if parts.port else "")
    path = parts.path.rstrip("/")
    number = ""
    if kind == "sentry":
        path, _, number = path.rpartition("/")
        key = key or parts.username or ""
        if not key or not number.isdigit():
            raise UpstreamInvalid(
                "of Sentry and GlitchTip the URL is the project's DSN, such as"
                " https://KEY@errors.example/1"
            )
    elif parts.username or parts.password:
        raise UpstreamInvalid("leave user name and password out of the URL: give them as a header")
    if kind == "posthog" and not key:
        raise UpstreamInvalid(
            "name PostHog's own project API key, which its clients send (phc_...)"
        )
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not value.isprintable():
            raise UpstreamInvalid(f"{name!r} is no name of a header, or its value is not printable")
    address = f"{parts.scheme}://{place}{path}"
    try:
        literal(PeerUrl.kind, urlsplit(PeerUrl.parse(address).address).hostname or "")
    except (UrlError, HttpRefused) as error:
        raise UpstreamInvalid(f"no request can be put there: {error}") from error
    return Upstream(kind, address, key, number, dict(headers))


@dataclass
class Arrival:
    """A request as it came: ``target`` is path and query, ``body`` the bytes on the wire, ``plain``
    those below their compression. ``keys`` are the spellings of the ingest key it came with."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    plain: bytes = field(repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    kept: bool = False


@dataclass(frozen=True)
class Outgoing:
    """A request as it is put to an upstream, below its URL."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def sealed(self) -> bytes:
        """The request as bytes."""
        head = {"method": self.method, "target": self.target, "headers": dict(self.headers)}
        return json.dumps(head).encode() + b"\n" + self.body

    @classmethod
    def opened(cls, data: bytes) -> Outgoing:
        """The request that :meth:`sealed` wrote."""
        head, _, body = data.partition(b"\n")
        return cls(**json.loads(head), body=body)


def outgoing(arrival: Arrival, there: Upstream) -> Outgoing | None:
    """What is put to an upstream for what arrived; ``None`` where a key of ours would go along."""
    kept = _kept(arrival.headers)
    target, body = arrival.target, arrival.body
    foreign = tuple(key for key in arrival.keys if key)
    if foreign and there.key not in arrival.keys:
        if there.kind == "otlp":
            # The key stands in a header, and the product has headers of its own.
            kept.pop("authorization", None)
        target = _replaced(target, foreign, there.key)
        kept = {name: _replaced(value, foreign, there.key) for name, value in kept.items()}
        secrets = [key.encode() for key in foreign]
        if there.kind == "posthog" and arrival.plain.lstrip()[:1] not in (b"{", b"[", b""):
            # A form, in which the key may be written in many ways.
            return None
        if any(secret in arrival.plain for secret in secrets):
            # Of an envelope the first line names the key; what follows has lengths that count.
            head, line, rest = (
                arrival.plain.partition(b"\n")
                if there.kind == "sentry"
                else (arrival.plain, b"", b"")
            )
            for secret in secrets:
                head = head.replace(secret, there.key.encode())
            body = head + line + rest
            if any(secret in body for secret in secrets):
                return None
            kept.pop("content-encoding", None)
    if there.number:
        target = _SENTRY_PATH.sub(f"/api/{there.number}/", target, count=1)
    return Outgoing(arrival.method, target, {**kept, **there.headers}, body)


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers
        if name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES)
    }


def _replaced(text: str, keys: Iterable[str], key: str) -> str:
    for each in keys:
        text = text.replace(each, key)
    return text
