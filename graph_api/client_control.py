"""The calls by which runtime assets are controlled.

Invariant: what is asked of an asset is asked of the server; a run is followed by reading its output
from the beginning, as often as that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from graph_api.client_connection import (
    JSON,
    Connection,
    Json,
    Parameters,
    items,
    segment,
)

LINES = "application/x-ndjson"


class ControlCalls(Connection):
    """What it is made with is as for a :class:`Connection`."""

    def ask_run(
        self,
        chosen: tuple[str | None, str | None, str | None],
        what: str,
        document: Json,
        key: str | None = None,
    ) -> Json:
        """Ask for a run (``what`` is ``runs``) or a request (``requests``) of the asset that is
        ``chosen`` by id, or by role and perhaps environment."""
        path, selected = _chosen(chosen)
        headers = JSON if key is None else {**JSON, "Idempotency-Key": key}
        answer = self.send(
            "POST",
            f"{path}/{what}",
            document={**selected, **document},
            headers=headers,
        )
        return self.object_in(answer)

    def check_asset(self, chosen: tuple[str | None, str | None, str | None]) -> Json:
        path, selected = _chosen(chosen)
        return self.post(f"{path}/check", selected or None, timeout=None)

    def check_endpoint(self, endpoint_id: str) -> Json:
        return self.post(f"/endpoints/{segment(endpoint_id)}/check", timeout=None)

    def grant_control(self, document: Json) -> Json:
        """Propose that a principal may control an asset, or the assets with a role."""
        return self.post("/runtime-assets/grants", document)

    def runs(self, wanted: Parameters) -> list[Json]:
        return items(self.get("/runs", wanted))

    def run(self, identifier: str) -> Json:
        return self.get(f"/runs/{segment(identifier)}")

    def cancel_run(self, identifier: str) -> Json:
        return self.post(f"/runs/{segment(identifier)}/cancel")

    def run_output(self, identifier: str) -> Iterator[Json]:
        """The lines of a run's output as they come, for as long as the run isn't over."""
        path = f"/runs/{segment(identifier)}/output"
        with self.stream("GET", path, headers={"Accept": LINES}, timeout=None) as answer:
            for text in answer.lines():
                yield self.line(text)


def _chosen(chosen: tuple[str | None, str | None, str | None]) -> tuple[str, Json]:
    """Where an asset is asked, and what says which it is."""
    asset_id, role, environment = chosen
    if asset_id is not None:
        return f"/runtime-assets/{segment(asset_id)}", {}
    named = {"role": role, "environment": environment}
    return "/runtime-assets", {name: value for name, value in named.items() if value is not None}
