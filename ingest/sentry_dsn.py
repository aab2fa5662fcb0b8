"""The DSN of a project: where a Sentry client sends, and with which key.

Invariant: a DSN says no more than the ingest key does, and either is found from the other. The
number at its end is there because clients ask for one, and is not looked at: the key decides.

An ingest key may hold a hyphen, which browsers' clients refuse in a DSN; so the public key in it is
the same bytes in hexadecimal behind the same prefix. The ingest key itself is taken as well.
Source: https://develop.sentry.dev/sdk/foundations/transport/authentication/
"""

from __future__ import annotations

import base64
import re
from urllib.parse import urlsplit

from starlette.requests import Request

from ingest.receivers import key_in_headers
from runtime.access import KEY_PREFIX

_SECRET_BYTES = 32
_PROJECT_NUMBER = 1
# Of the ingest key, in base64 without padding.
_SECRET_CHARACTERS = 43
_PUBLIC_KEY = re.compile(rf"{KEY_PREFIX}([0-9a-f]{{{_SECRET_BYTES * 2}}})")
_IN_HEADER = re.compile(r"(?:^|[\s,])sentry_key\s*=\s*([^,\s]{1,200})")


def dsn(url: str, ingest_key: str) -> str:
    """The DSN for a server at this URL and a project's ingest key."""
    parts = urlsplit(url)
    place = f"{parts.netloc}{parts.path.rstrip('/')}"
    return f"{parts.scheme}://{public_key(ingest_key)}@{place}/{_PROJECT_NUMBER}"


def public_key(ingest_key: str) -> str:
    """How a DSN names an ingest key."""
    secret = ingest_key.removeprefix(KEY_PREFIX)
    return KEY_PREFIX + base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)).hex()


def ingest_key(public: str) -> str:
    """The ingest key that a DSN names."""
    found = _PUBLIC_KEY.fullmatch(public)
    if found is None:
        return public
    return KEY_PREFIX + base64.urlsafe_b64encode(bytes.fromhex(found[1])).rstrip(b"=").decode()


def spellings_of(key: str) -> tuple[str, ...]:
    """How a key may be written in a request: as it is, and as a DSN names it."""
    known = key.startswith(KEY_PREFIX) and len(key) == len(KEY_PREFIX) + _SECRET_CHARACTERS
    return (key, public_key(key)) if known else (key,)


def key_of(request: Request) -> str:
    """The ingest key that a request names outside its body; empty where it names none."""
    for name in ("x-sentry-auth", "authorization"):
        scheme, _, said = request.headers.get(name, "").partition(" ")
        found = _IN_HEADER.search(said) if scheme.lower() == "sentry" else None
        if found:
            return ingest_key(found[1])
    return ingest_key(request.query_params.get("sentry_key", "")) or key_in_headers(request)
