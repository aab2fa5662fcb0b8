"""What the shop tells of its product: what customers do, and what went wrong meanwhile.

The official clients of PostHog and Sentry, each as its guide says. Both name the trace that they
are in, which is the OpenTelemetry SDK's: that is all it takes to join the three. Without
POSTHOG_PROJECT_API_KEY and SENTRY_DSN in the environment both stay silent.
"""

from __future__ import annotations

import os

import sentry_sdk
from posthog import Posthog
from sentry_sdk.integrations.otlp import OTLPIntegration


class Product:
    """The product analytics and the error tracker of one process."""

    def __init__(self) -> None:
        self._service = os.environ.get("OTEL_SERVICE_NAME", "shop")
        environment = os.environ.get("SENTRY_ENVIRONMENT", "production")
        release = os.environ.get("SENTRY_RELEASE", "")
        sentry_sdk.init(
            environment=environment,
            # Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, and carry the W3C's headers.
            integrations=[
                OTLPIntegration(setup_otlp_traces_exporter=False, setup_propagator=False)
            ],
            # Counts of sessions, which nobody looks at here.
            auto_session_tracking=False,
        )
        sentry_sdk.set_tag("service.name", self._service)
        key = os.environ.get("POSTHOG_PROJECT_API_KEY", "")
        self._analytics = Posthog(
            key or "none",
            host=os.environ.get("POSTHOG_HOST"),
            disabled=not key,
            capture_trace_context=True,
            # Seconds; the usual five would only make a demonstration slower.
            flush_interval=0.25,
            super_properties={
                "service": self._service,
                "release": release.rpartition("@")[2],
                "environment": environment,
            },
        )

    def used(self, feature: str, event: str, customer: str, page: str) -> None:
        """A customer used a feature, on this page."""
        self._analytics.capture(
            event, distinct_id=customer, properties={"feature": feature, "$pathname": page}
        )

    def failed(self, feature: str, error: Exception) -> None:
        """An error was handled: the customer was served, but without the feature."""
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("feature", feature)
            scope.capture_exception(error)
