"""Ingest keys of projects, with the settings that clients take them by.

Invariant: a secret is answered once, with the names by which each client reads it, and never shown
again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ingest.sentry_dsn import dsn
from ontology.ids import Ids
from runtime.access import BROWSER, INGEST, INGEST_ROLES, Access, Credential


class IngestKeys:
    """``url()`` is where this server answers."""

    def __init__(self, access: Access, ids: Ids, url: Callable[[], str]) -> None:
        self._access = access
        self._ids = ids
        self._url = url

    def new(self, slug: str) -> dict[str, Any]:
        """A new key for servers, and what their clients are given."""
        _, key = self._access.issue(f"{slug} telemetry", INGEST, self._ids.project(slug), slug)
        url = self._url()
        return {
            "ingest_key": key,
            "environment": _environment(url, key),
            "posthog": _posthog(url, key),
            "sentry": {"SENTRY_DSN": dsn(url, key)},
            "openlineage": {"OPENLINEAGE_URL": url, "OPENLINEAGE_API_KEY": key},
        }

    def new_browser(self, slug: str) -> dict[str, Any]:
        """A new key that may stand in pages, and what their clients are given."""
        _, key = self._access.issue(f"{slug} pages", BROWSER, self._ids.project(slug), slug)
        url = self._url()
        # The names by which bundlers let settings into a page are their own; these are the plain.
        return {
            "browser_key": key,
            "browser": {
                "OTEL_EXPORTER_OTLP_HEADERS": _headers(key),
                **_posthog(url, key),
                "SENTRY_DSN": dsn(url, key),
            },
        }

    def lent(self, slug: str) -> str:
        """A key that is kept nowhere and ends with the server's process."""
        return self._access.lend(f"{slug} history", INGEST, self._ids.project(slug), slug)

    def of(self, slug: str) -> list[Credential]:
        """Those that the project has."""
        return [
            item
            for item in self._access.all()
            if item.role in INGEST_ROLES and item.project == slug
        ]

    def shown(self, slug: str) -> list[dict[str, Any]]:
        """The same without their secrets, and how they are used."""
        return [self._shown(item) for item in self.of(slug)]

    def _shown(self, item: Credential) -> dict[str, Any]:
        use = self._access.use_of(item.id)
        return {
            "id": item.id,
            "kind": "browser" if item.role == BROWSER else "server",
            "created_at": item.created_at,
            "revoked_at": item.revoked_at,
            "last_used": use.last_used,
            "from_pages": use.from_pages,
        }

    def revoke(self, slug: str, identifier: str) -> bool:
        """End a key of the project at once; whether there is such a one."""
        if not any(item.id == identifier for item in self.of(slug)):
            return False
        self._access.revoke(identifier)
        return True


def _headers(key: str) -> str:
    """The header that carries an ingest key, percent-encoded as OpenTelemetry's SDKs read it."""
    return "authorization=" + quote(f"Bearer {key}", safe="")


def _environment(url: str, key: str) -> dict[str, str]:
    """What an OpenTelemetry SDK reads; header values there are percent-encoded.

    Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": _headers(key),
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
    }


def _posthog(url: str, key: str) -> dict[str, str]:
    """What a PostHog client is given, by the names that PostHog's own guides use.

    Source: https://posthog.com/docs/libraries/python
    """
    return {"POSTHOG_HOST": url, "POSTHOG_PROJECT_API_KEY": key}
