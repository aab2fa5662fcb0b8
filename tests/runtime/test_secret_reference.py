"""References to secrets have one spelling, and none leads out of its mount."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.secret_text import holds_secret
from runtime.errors import SettingsError
from runtime.secret_reference import SecretReference, is_reference


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("bao://secret/glitchtip#token", ("secret", "glitchtip", "token")),
        ("bao://kv-2/a/b.c/d_e#the-field", ("kv-2", "a/b.c/d_e", "the-field")),
        ("bao://secret/...#x", ("secret", "...", "x")),
    ],
)
def test_what_is_a_reference(text: str, parts: tuple[str, str, str]) -> None:
    found = SecretReference.parse(text)
    assert (found.mount, found.path, found.field) == parts
    assert str(found) == text
    assert is_reference(text)
    assert not holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bao://",
        "bao://secret",
        "bao://secret/x",
        "bao://secret/x#",
        "bao://secret#x",
        "bao:///x#y",
        "bao://secret//x#y",
        "bao://secret/x/#y",
        "bao://secret/../sys/x#y",
        "bao://secret/x/..#y",
        "bao://secret/.#y",
        "bao://../x#y",
        "bao://secret/x#y\n",
        "bao://secret/x?version=1#y",
        "bao://secret/%2e%2e/x#y",
        "BAO://secret/x#y",
        "bao://secret/" + "x/" * 20 + "x#y",
        "bao://secret/" + "x" * 129 + "#y",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(SettingsError, match="MOUNT/PATH#FIELD") as raised:
        SecretReference.parse(text)
    assert len(text) < 20 or text not in str(raised.value)


@given(st.text(max_size=600))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = SecretReference.parse("bao://" + text)
    except SettingsError:
        return
    assert str(found) == "bao://" + text
    assert ".." not in found.path.split("/")
