"""Keeps persons out of what a product says of itself.

Invariant: a property whose key says that it names, addresses or locates a person is left out, on
every level of nesting; mail addresses, and the queries and fragments of URLs, are taken out of the
values that stay. The payload itself remains as evidence, encrypted and erasable.
Source: https://posthog.com/docs/data/events#default-properties (what the clients send by default)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ingest.attributes import MAX_KEY, REDACTED

MAX_DEPTH = 16
"""Levels of a property's value; what lies deeper is left out."""

# What the clients set themselves: identities and traits of persons, groups and devices, words of
# the page and of the conversation, and source code around an exception.
_OF_CLIENTS = re.compile(
    r"""(?x)
      \$?(?:distinct_id|token|api_key|alias) | \$anon_distinct_id | \$device_id | \$user.* | \$ip
    | \$(?:set|unset|person|initial|geoip|snapshot).* | \$groups | \$group_(?!type$).*
    | \$(?:elements|el_text|raw_user_agent|copied_content|selected_content|config_defaults).*
    | \$exception_(?:list|values|messages?|frames|stack.*|person.*)
    | \$ai_(?:input|output)(?!_(?:tokens|cost)).* | \$survey_response.* | title
    | (?:\$session_entry_)?(?:ph_keyword|gclid|gclsrc|gad_source|dclid|gbraid|wbraid|fbclid|msclkid
    |twclid|li_fat_id|mc_cid|igshid|ttclid|rdt_cid|epik|qclid|sccid|irclid|oppref|bfcid|_kx)
    """
)
# What developers call their own properties, in snake case.
_OF_PERSONS = re.compile(
    r"""(?x)(?:^|_)(?:
      e?_?mail(?:s|_?address)? | phone | telephone | fax | ssn | iban | passport
    | password | passwd | secret | token | authorization | cookie | api_?key
    | (?:first|last|full|middle|maiden|nick|display|user|given|family)_?name | surname
    | (?:user|customer|person|member|patient|client|contact|employee|visitor|subscriber)
      _?(?:id|uuid|key|ref|name|login)
    | address | street | zip(?:_?code)? | post(?:al)?_?code | birth\w* | dob
    | ip(?:v[46])?(?:_?addr)? | lat(?:itude)? | lng | longitude | geolocation
    | card_?(?:number|no|holder) | cvc | cvv
    )(?:_|$)"""
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"\W+")

_AFTER_PATH = re.compile(r"(://[^\s?#\"'<>\\]*)([?#][^\s\"'<>\\]*)?")
_AT = re.compile(r"(@|%40)")
_PART = re.compile(r"[^\s\"'<>()\[\]{},;:/\\=&|?#@%]+")
# RFC 5321, 4.5.3.1.1; a longer one is redacted from there on.
_LONGEST_LOCAL_PART = 64


def is_personal(key: str) -> bool:
    """Whether a property of this name is left out."""
    return _is_personal(key[:MAX_KEY])


@lru_cache(maxsize=4096)
def _is_personal(key: str) -> bool:
    if _OF_CLIENTS.fullmatch(key):
        return True
    return _OF_PERSONS.search(_NO_WORD.sub("_", _HUMP.sub("_", key)).lower()) is not None


def impersonal(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value without the members that are left out, and no deeper than this."""
    if not isinstance(value, list | dict):
        return value
    if not depth:
        return REDACTED
    if isinstance(value, list):
        return [impersonal(item, depth - 1) for item in value]
    return {key: impersonal(item, depth - 1) for key, item in value.items() if not is_personal(key)}


def redacted(value: str) -> str:
    """A text without mail addresses, and without what follows the path of a URL."""
    if "://" in value:
        value = _AFTER_PATH.sub(r"\1", value)
    return _without_addresses(value) if "@" in value or "%40" in value else value


def _without_addresses(value: str) -> str:
    # Parted at every sign, so that the time taken follows the length whatever stands between.
    before, *others = _AT.split(value)
    for sign, after in zip(others[::2], others[1::2], strict=True):
        local = _PART.match(before[: -_LONGEST_LOCAL_PART - 1 : -1])
        domain = _PART.match(after)
        if local and domain:
            before = before[: -local.end()] + REDACTED + after[domain.end() :]
        else:
            before += sign + after
    return before
