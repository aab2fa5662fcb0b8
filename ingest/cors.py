"""Lets pages of any origin send, for browsers report from wherever a product runs.

Invariant: an answer that a page may read holds nothing that is not public; no credentials of the
browser's own are asked for or taken.
Protocol: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

_PREFLIGHT_SECONDS = 86_400
_HEADER_NAMES = re.compile(r"[\w-]+(?:\s*,\s*[\w-]+)*", re.ASCII)
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}


def opened(response: Response, exposed: str = "Retry-After") -> Response:
    """An answer that a page of any origin may read, and these of its headers."""
    response.headers.update(_ANY_ORIGIN | {"Access-Control-Expose-Headers": exposed})
    return response


def allowed(request: Request, usual_headers: str) -> Response:
    """The answer to what a browser asks first: it may send the headers that it names, and the usual
    ones where it names none."""
    wanted = request.headers.get("access-control-request-headers", "").strip()
    return opened(
        Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                "Access-Control-Allow-Headers": (
                    wanted if _HEADER_NAMES.fullmatch(wanted) else usual_headers
                ),
                "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            },
        )
    )
