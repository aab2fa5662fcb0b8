"""Tells texts that look like secrets.

Invariant: reading a text takes time that grows with its length alone, whatever the text. What is
found is never repeated in a message.
"""

from __future__ import annotations

import re

# Each with a text that must be there, so that the search is quick; and with an end to every
# repetition, so that no text makes it slow.
_SECRETS = tuple(
    (marker, re.compile(pattern, re.ASCII))
    for marker, pattern in (
        ("PRIVATE KEY-----", r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"),
        ("PRIVATE+KEY+", r"PRIVATE\+KEY\+"),
        ("fot_", r"fot_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"),
        ("foi_", r"foi_(?:[A-Za-z0-9_-]{43}|[0-9a-f]{64})(?![A-Za-z0-9_-])"),
        ("AKIA", r"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("ASIA", r"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("gh", r"gh[pousr]_[A-Za-z0-9]{36}"),
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{40}"),
        ("glpat-", r"glpat-[A-Za-z0-9_-]{20}"),
        ("xox", r"xox[abprs]-[A-Za-z0-9-]{10}"),
        ("sk_live_", r"sk_live_[A-Za-z0-9]{16}"),
        ("phx_", r"phx_[A-Za-z0-9]{40}"),
        ("hvs.", r"hvs\.[A-Za-z0-9_-]{20}"),
        (
            "eyJ",
            r"eyJ[A-Za-z0-9_-]{10,1024}\.eyJ[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10}",
        ),
        # A password inside a URL, unless it is masked.
        ("@", r"://[^\s/:@?#\"'<>]{0,256}:(?!\*+@)[^\s/@?#\"'<>]{1,256}@"),
    )
)


def holds_secret(text: str) -> bool:
    """Whether something in this text looks like a key, a token or a password."""
    return any(marker in text and pattern.search(text) for marker, pattern in _SECRETS)
