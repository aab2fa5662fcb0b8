"""Stands for a person in the facts without saying who it is.

Invariant: the same identifier in the same project has the same pseudonym for as long as the key
lives; without the key nobody can tell from a guessed identifier which pseudonym is its, nor that
two projects speak of the same person. The key lies in the inbox, beside those of the evidence:
facts that are built again carry the same pseudonyms.
Source: HMAC-SHA256, https://www.rfc-editor.org/rfc/rfc2104; what a pseudonym is,
https://eur-lex.europa.eu/eli/reg/2016/679/oj (article 4, 5).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from ingest.inbox import Inbox

_STATE = "pseudonym-key"
_KEY_BYTES = 32
_DIGITS = 32


class Pseudonyms:
    """Makes pseudonyms under one key. Safe to use from any thread."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def kept_in(cls, inbox: Inbox, random: Callable[[int], bytes]) -> Pseudonyms:
        """Those of the key that this inbox keeps; ``random(n)`` gives the first one's bytes."""
        key = inbox.state(_STATE)
        if key is None:
            key = random(_KEY_BYTES).hex()
            inbox.set_state(_STATE, key)
        return cls(bytes.fromhex(key))

    def of(self, project: str, identifier: str) -> str:
        """32 hexadecimal digits; empty for an empty identifier."""
        if not identifier:
            return ""
        said = f"{project}\x00{identifier}".encode(errors="surrogatepass")
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()[:_DIGITS]
