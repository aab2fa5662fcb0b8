"""What is kept of a product's properties is a table; that no person is in it, a property."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.personal import MAX_DEPTH, impersonal, is_personal, redacted


@pytest.mark.parametrize(
    "key",
    [
        *("distinct_id", "$set", "$set_once", "$unset", "$ip", "$user_id", "$device_id", "token"),
        *("$anon_distinct_id", "alias", "$groups", "$group_key", "$group_set", "$geoip_city_name"),
        *("$initial_current_url", "$raw_user_agent", "$elements", "$elements_chain", "$el_text"),
        *("$exception_list", "$exception_message", "$ai_input", "$ai_output_choices", "title"),
        *("$survey_response_1", "gclid", "$session_entry_gclid", "$person_properties"),
        *("email", "Email", "e-mail", "user.email", "contactEmail", "email_address", "phone"),
        *("firstName", "last_name", "userName", "username", "customer_id", "customerId", "userID"),
        *("ip", "client_ip", "ipAddress", "billing address", "zip", "postcode", "birthday", "dob"),
        *("cardNumber", "cvv", "password", "api_key", "session_token", "latitude", "lng"),
    ],
)
def test_left_out(key: str) -> None:
    assert is_personal(key)


@pytest.mark.parametrize(
    "key",
    [
        *("total", "plan", "sku", "product_name", "name", "order_id", "currency", "version"),
        *("$current_url", "$pathname", "$host", "$lib", "$os", "$browser", "$device_type"),
        *("$group_type", "$feature_flag", "$exception_level", "$ai_input_tokens", "$session_id"),
        *("service", "release", "environment", "shipping", "zipped", "tokens", "description"),
        *("is_mobile", "emailed_at_once", "trip", "flat", "$ai_output_cost_usd"),
    ],
)
def test_kept(key: str) -> None:
    assert not is_personal(key)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("nothing", "nothing"),
        ("to ann.smith+shop@mail.example.org, now", "to [redacted], now"),
        ("mailto:ann@example.org?subject=x", "mailto:[redacted]?subject=x"),
        ('{"to": "ann@example.org"}', '{"to": "[redacted]"}'),
        ("ann%40example.org", "[redacted]"),
        ("a@b@c", "[redacted]@c"),
        ("@handle", "@handle"),
        ("5 @ 3", "5 @ 3"),
        ("käthe@exämple.org", "[redacted]"),
        ("https://shop.example/a/b?mail=x#y", "https://shop.example/a/b"),
        ("see https://shop.example/?a=b and app://x#y.", "see https://shop.example/ and app://x"),
        ('["https://shop.example/a?b","c?d"]', '["https://shop.example/a","c?d"]'),
        ("what?", "what?"),
    ],
)
def test_values(value: str, kept: str) -> None:
    assert redacted(value) == kept


def test_members_are_left_out_on_every_level() -> None:
    value = {"lines": [{"sku": "tea", "email": "x", "deeper": {"user_name": "x", "n": 1}}]}
    assert impersonal(value) == {"lines": [{"sku": "tea", "deeper": {"n": 1}}]}
    deep: object = "ground"
    for _ in range(MAX_DEPTH + 5):
        deep = [deep]
    assert "ground" not in str(impersonal(deep))


@pytest.mark.parametrize("piece", ["@", "a@", "://", "://?", "a" * 64 + "@", "%40", "a://b@c?"])
def test_time_follows_the_length(piece: str) -> None:
    started = time.perf_counter()
    redacted(piece * (200_000 // len(piece)))
    # A quadratic way would take minutes.
    assert time.perf_counter() - started < 20


@given(st.text(), st.emails(), st.text())
def test_no_address_stays(before: str, address: str, after: str) -> None:
    local, _, domain = address.partition("@")
    if local.isalnum():
        assert address not in redacted(f"{before} {address} {after}")
        assert f"{local}%40{domain}" not in redacted(f"{before} {local}%40{domain} {after}")
