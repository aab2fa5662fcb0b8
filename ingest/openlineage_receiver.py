"""The endpoints of OpenLineage's HTTP API: ``/api/v1/lineage`` and ``/api/v1/lineage/batch``.

Invariant: 2xx is answered only after the payload is durable in the inbox. Clients try again on 500,
502, 503 and 504 alone, so what is worth another attempt is answered 503.
Specification: https://openlineage.io/apidocs/openapi/
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingest.errors import PayloadUndecodable, QuotaDeferred
from ingest.events import LINEAGE_SOURCE
from ingest.openlineage_request import parse, refusal_of
from ingest.receivers import ProblemReceiver, key_in_headers

LINEAGE_PATH: Final = "/api/v1/lineage"
BATCH_PATH: Final = "/api/v1/lineage/batch"

_MEDIA_TYPE = "application/json"
_NEEDED = (
    "an event needs `job` with a name, and `run` with a `runId` where it is one of a run, or"
    " else `dataset` with a name; names may have 1,024 characters"
)


class LineageReceiver(ProblemReceiver):
    """Takes run, job and dataset events in for the project that the API key belongs to."""

    signal = "lineage"
    source = LINEAGE_SOURCE
    quota_error = QuotaDeferred
    key_hint = (
        "send the project's ingest key: set OPENLINEAGE_API_KEY as `fractalops projects create`"
        " printed it"
    )

    async def post(self, request: Request) -> Response:
        """Take one event in; a list of them is taken as well."""

        async def take(request: Request) -> Response:
            refused, items = await self._taken_in(request)
            if len(refused) == len(items):
                raise PayloadUndecodable(f"{next(iter(refused.values()), 'no event')}: {_NEEDED}")
            return Response(status_code=201)

        return await self.answer(request, take, self._problem)

    async def post_batch(self, request: Request) -> Response:
        """Take a list of events in, and say which of them are none."""

        async def take(request: Request) -> Response:
            refused, items = await self._taken_in(request)
            failed = [
                {"index": index, "reason": f"{reason}: {_NEEDED}", "retriable": False}
                for index, reason in refused.items()
            ]
            summary = {
                "received": len(items),
                "successful": len(items) - len(failed),
                "failed": len(failed),
                "retriable": 0,
                "non_retriable": len(failed),
            }
            status = "partial_success" if failed else "success"
            return JSONResponse({"status": status, "summary": summary, "failed_events": failed})

        return await self.answer(request, take, self._problem)

    async def _taken_in(self, request: Request) -> tuple[dict[int, str], tuple[Any, ...]]:
        """Keep the events of a request: the refused ones by their place, and all of them."""
        sender = self.sender_of(request, key_in_headers(request))
        payload = await self.read(request)
        items = await self.parsed(payload, parse)
        refused = {
            index: reason for index, item in enumerate(items) if (reason := refusal_of(item))
        }
        if len(refused) < len(items):
            # The decoder counts what it skips of a payload that is kept.
            await self.keep(sender, _MEDIA_TYPE, payload, len(items) - len(refused))
        else:
            for reason in refused.values():
                self.drop(reason, 1)
        return refused, items
