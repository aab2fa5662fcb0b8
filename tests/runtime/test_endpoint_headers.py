"""The headers that an endpoint is asked with, and what is no secret of its scheme."""

from __future__ import annotations

import base64

import pytest

from runtime.assets import Authentication, IntegrationEndpoint, Scheme
from runtime.endpoint_headers import headers_of
from runtime.errors import OpenBaoSealed, SecretMissing

REFERENCE = "bao://kv/nexus#token"


def endpoint(scheme: Scheme) -> IntegrationEndpoint:
    reference = "" if scheme == "none" else REFERENCE
    return IntegrationEndpoint("nexus", "", "/ready", Authentication(scheme, reference))


@pytest.mark.parametrize(
    ("scheme", "secret", "expected"),
    [
        ("none", "unused", {}),
        ("bearer", "t0ken\n", {"Authorization": "Bearer t0ken"}),
        (
            "basic",
            "jo:pass:word",
            {"Authorization": f"Basic {base64.b64encode(b'jo:pass:word').decode()}"},
        ),
        ("header", "X-Api-Key: k1", {"X-Api-Key": "k1"}),
        ("header", "X-Api-Key:k1 k2", {"X-Api-Key": "k1 k2"}),
    ],
)
def test_each_scheme_is_a_header(scheme: Scheme, secret: str, expected: dict[str, str]) -> None:
    asked: list[str] = []

    def find(reference: str) -> str:
        asked.append(reference)
        return secret

    assert headers_of(endpoint(scheme), find) == expected
    assert asked == ([] if scheme == "none" else [REFERENCE])


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("bearer", ""),
        ("bearer", "a\r\nX-Other: b"),
        ("bearer", "schl\u00fcssel"),
        ("basic", "nobody"),
        ("header", "no colon"),
        ("header", "X Y: z"),
        ("header", "X-Empty:"),
    ],
)
def test_what_is_no_secret_of_the_scheme_is_not_told(scheme: Scheme, secret: str) -> None:
    with pytest.raises(SecretMissing) as found:
        headers_of(endpoint(scheme), lambda reference: secret)
    assert not secret or secret not in str(found.value)


def test_an_openbao_that_is_sealed_is_told_as_it_is() -> None:
    def find(reference: str) -> str:
        raise OpenBaoSealed("OpenBao is sealed")

    with pytest.raises(OpenBaoSealed):
        headers_of(endpoint("bearer"), find)
