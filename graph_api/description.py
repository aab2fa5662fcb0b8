"""The description of the API at ``/openapi.json``: of every operation, all that it may answer.

Invariant: what an operation answers is described, its status and its media type, and nothing is
that it doesn't. An error is a problem document but where a protocol has errors of its own.
Specification: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from graph_api.problems import PROBLEM_JSON
from graph_api.proposals import PATCH
from graph_api.validation import LINES, REPORT_FORMATS
from proofs.bundle import BUNDLE_MEDIA_TYPE

Describe = Callable[[], dict[str, Any]]

METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_JSON: Final = "application/json"
_OTLP: Final = ("application/x-protobuf", _JSON)
_PROBLEMS: Final = (PROBLEM_JSON,)
_REPORT: Final = (_JSON, *REPORT_FORMATS)
_OTLP_ANSWERS: Final = {"200": _OTLP, "4XX": (*_OTLP, *_PROBLEMS), "5XX": (*_OTLP, *_PROBLEMS)}
"""An error of OTLP is a ``google.rpc.Status``, written as the request was."""

_ANSWERS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    **{f"post /v1/{signal}": _OTLP_ANSWERS for signal in ("traces", "logs", "metrics")},
    **{f"post /i/v1/{signal}": _OTLP_ANSWERS for signal in ("traces", "logs", "metrics")},
    "post /api/{number}/integration/otlp/v1/traces/": _OTLP_ANSWERS,
    "post /api/v1/lineage": {"201": ()},
    "get /array/{key}/config.js": {"200": ("application/javascript",)},
    # 200 where nothing is erased: it was only asked for, or there is nothing.
    "post /evidence/erasures": {"200": (_JSON,), "201": (_JSON,)},
    "get /graph/{name}": {"303": ()},
    "get /live": {"200": ("text/event-stream",)},
    "get /metrics": {"200": ("text/plain",)},
    "get /proofs/bundle/{entry}": {"200": (BUNDLE_MEDIA_TYPE,)},
    "get /proofs/checkpoint": {"200": ("text/plain",)},
    "get /proofs/tile/{path}": {"200": ("application/octet-stream",)},
    "post /proposals": {
        "200": (_JSON,),
        "201": (_JSON,),
        "4XX": (*_PROBLEMS, *_REPORT),
    },
    "get /proposals/{identifier}/diff": {"200": (PATCH, _JSON)},
    "get /proposals/{identifier}/report": {"200": _REPORT},
    "post /proposals/{identifier}/decisions": {"200": (_JSON,), "4XX": (*_PROBLEMS, *_REPORT)},
    "post /proposals/{identifier}/revert": {
        "200": (_JSON,),
        "201": (_JSON,),
        "4XX": (*_PROBLEMS, *_REPORT),
    },
    # Not ready is no fault of the one who asks: the same document, with what is amiss.
    "get /readyz": {"200": (_JSON,), "503": (_JSON,)},
    # 200 where the grant is there already.
    "post /runtime-assets/grants": {"200": (_JSON,), "201": (_JSON,)},
    "post /validate": {"200": (*_REPORT, LINES)},
}
"""Media types by status, of what isn't JSON with the status that the route has, or may be another.
What is said here of 2XX and 3XX takes the place of what the route says."""

_SAID: Final = {"2": "The answer", "3": "It is elsewhere", "4": "A problem", "5": "A problem"}


def complete(described: Describe) -> Describe:
    """A description with the answers of every operation, and the one way to say who calls."""

    def openapi() -> dict[str, Any]:
        schema = described()
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schemas = components.setdefault("schemas", {})
        # FastAPI's own shape of an error is none of ours.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Problem"] = _PROBLEM
        schema["security"] = [{"token": []}]
        for operation, about in operations(schema):
            _complete(about, operation)
        return schema

    return openapi


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation as ``method /path``, with what is said about it."""
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            if method in METHODS:
                yield f"{method} {path}", about


def _complete(about: dict[str, Any], operation: str) -> None:
    said = about["responses"]
    answers = dict(_ANSWERS.get(operation, {}))
    if not any(status[0] in "23" for status in answers):
        for status, answer in said.items():
            if status[0] in "23":
                answers[status] = tuple(answer.get("content") or _usual(about, status))
    answers.setdefault("4XX", _PROBLEMS)
    answers.setdefault("5XX", _PROBLEMS)
    about["responses"] = {
        status: {
            "description": said.get(status, {}).get("description") or _SAID[status[0]],
            **({"content": {each: _schema(each) for each in types}} if types else {}),
        }
        for status, types in answers.items()
    }


def _usual(about: dict[str, Any], status: str) -> tuple[str, ...]:
    """What a receiver answers that says nothing of it."""
    return (_JSON,) if "telemetry" in about.get("tags", ()) and status == "200" else ()


def _schema(media_type: str) -> dict[str, Any]:
    if media_type != PROBLEM_JSON:
        return {}
    return {"schema": {"$ref": "#/components/schemas/Problem"}}
