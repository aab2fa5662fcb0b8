"""What is read of strangers, and the answers to what isn't carried out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from graph_api.control_json import (
    ControlGrantBody,
    RequestBody,
    RunBody,
    SelectedBody,
    controlled,
    selection_of,
)
from graph_api.problems import Problem
from proofs.errors import Forbidden
from runtime import errors
from runtime.asset_service import Selection


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.UnknownAsset("x"), 404, "unknown-asset"),
        (errors.AmbiguousRole("x", ["a", "b"]), 409, "ambiguous-role"),
        (errors.NotPermitted("x", ["p"]), 403, "not-permitted"),
        (errors.NotControlled("x"), 409, "not-controlled"),
        (errors.RequestRefused("x"), 422, "request-refused"),
        (errors.CommandRefused("x"), 422, "command-refused"),
        (errors.ControlBusy("x"), 429, "control-busy"),
        (errors.ControlClosed("x"), 503, "server-ending"),
        (errors.ControlError("x"), 409, "control-refused"),
        (errors.UnknownRun("x"), 404, "unknown-run"),
        (errors.AdapterError("x"), 422, "machine-unreached"),
        (errors.MachineUnreachable("x"), 502, "machine-unreached"),
        (errors.OpenBaoSealed("x"), 503, "secret-unavailable"),
        (errors.SecretMissing("x"), 503, "secret-unavailable"),
        (Forbidden("x"), 403, "forbidden"),
    ],
)
def test_each_refusal_has_its_answer(error: Exception, status: int, kind: str) -> None:
    def refuse() -> None:
        raise error

    with pytest.raises(Problem) as found:
        controlled(refuse)
    assert (found.value.status, found.value.kind) == (status, kind)
    assert ("Retry-After" in found.value.headers) == (status in (429, 503))


def test_candidates_and_patterns_are_members() -> None:
    def ambiguous() -> None:
        raise errors.AmbiguousRole("x", ["a", "b"])

    def refused() -> None:
        raise errors.NotPermitted("x", ["p"])

    for function, member, expected in (
        (ambiguous, "candidates", ["a", "b"]),
        (refused, "permitted", ["p"]),
    ):
        with pytest.raises(Problem) as found:
            controlled(function)
        assert found.value.extra == {member: expected}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (RunBody, {}),
        (RunBody, {"argv": []}),
        (RunBody, {"argv": ["x"], "seconds": 0}),
        (RunBody, {"argv": ["x"], "seconds": float("nan")}),
        (RunBody, {"argv": ["x"], "output_bytes": 1 << 40}),
        (RunBody, {"argv": ["x"], "environment": 1}),
        (RunBody, {"argv": ["x"], "other": 1}),
        (RequestBody, {"method": "GET"}),
        (RequestBody, {"method": "POST", "path": "/", "body": "x", "body_base64": "eA=="}),
        (ControlGrantBody, {"to": "ann"}),
        (ControlGrantBody, {"to": "ann", "role": "r", "asset_id": "a"}),
    ],
)
def test_what_is_no_order_is_not_read(body: type[Any], said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body.model_validate(said)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"body": "{}"}, (b"{}", "application/octet-stream")),
        ({"body_base64": "/w==", "content_type": "a/b"}, (b"\xff", "a/b")),
        ({}, (b"", "")),
    ],
)
def test_a_body_is_text_or_base64(said: dict[str, Any], expected: tuple[bytes, str]) -> None:
    request = RequestBody.model_validate({"method": "POST", "path": "/x", **said}).request()
    assert (request.body, request.content_type) == expected


@pytest.mark.parametrize("said", [{"body_base64": "*"}, {"body": "\ud800"}])
def test_a_body_that_is_neither_is_refused(said: dict[str, Any]) -> None:
    body = RequestBody.model_construct(**{"method": "POST", "path": "/x", "seconds": 1.0, **said})
    with pytest.raises(errors.RequestRefused):
        body.request()


def test_an_asset_is_named_once() -> None:
    assert selection_of("box", SelectedBody(), "") == Selection(asset_id="box")
    by_role = SelectedBody(role="web", environment="production")
    assert selection_of(None, by_role, "urn:e") == Selection(role="web", environment="urn:e")
    for asset_id, body in (("box", by_role), (None, SelectedBody())):
        with pytest.raises(Problem) as found:
            selection_of(asset_id, body, "")
        assert found.value.kind == "parameter-invalid"


@pytest.mark.parametrize("text", ["\u00da\u0092w", "a", "===="])
def test_a_body_that_is_no_base64_is_refused(text: str) -> None:
    body = RequestBody(role="shop", method="POST", path="/jobs", body_base64=text)
    with pytest.raises(errors.RequestRefused, match="neither text nor base64"):
        body.request()
