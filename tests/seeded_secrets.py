"""The secrets that tests seed, and the search for them in what the platform leaves behind.

Invariant: every secret of a live test is one of these, or is told to :func:`remember`; whatever it
is sent in, no server may write it anywhere. A find names the place and the secret, and never
repeats what was found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import re2

SEEDS: Final = {
    "mail address": ("ann.smith@example.org", "ann.smith@example"),
    "card": ("4111111111111111", "4111111111111111"),
    "card in groups": ("5555 5555 5555 4444", "5555 5555 5555 4444"),
    "bank account": ("DE89 3704 0044 0532 0130 00", "0532 0130"),
    "social security": ("078-05-1120", "078-05-1120"),
    # No run of digits in order: numbers of a column are such bytes on disk.
    "telephone": ("+49 151 28374659", "28374659"),
    "web token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmVk", "eyJzdWIiOiJhbm4ifQ"),
    "AWS key": ("AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    "GitHub token": ("ghp_" + "Zq8" * 12, "Zq8Zq8"),
    "Slack token": ("xoxb-" + "123456789012-Kd9", "123456789012-Kd9"),
    "Stripe key": ("sk_live_" + "Tm4" * 8, "Tm4Tm4"),
    "bearer": ("Authorization: Bearer hV7sT2qLw9ZpX4", "hV7sT2qLw9ZpX4"),
    "password": ("password=correcthorse99", "correcthorse99"),
    "password in a URL": ("postgresql://shop:trombone-42@db/shop", "trombone-42"),
    "private key": (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----",
        "MIIEvQIBADANBgkq",
    ),
}
"""What telemetry says, and the part of it that must not be found anywhere."""
ADDRESS, AGENT = "198.51.100.77", "Mozilla/5.0 (Annalinux)"
"""The address and the browser of a person, in the fields that are theirs."""
OF_TELEMETRY: Final = (*(secret for _, secret in SEEDS.values()), ADDRESS, "Annalinux")

OPENBAO_TOKEN: Final = "seeded-password-7f3a"
"""What OpenBao keeps for the platform, read by the session itself."""
RESOLVED_TOKEN: Final = "seeded-password-91c4"
"""What a setting that is a reference means."""
DSN_PASSWORD: Final = "seeded-password-c2d9"
"""In the DSN of a database that telemetry or an answer names."""
PEER_PASSWORD: Final = "seeded-password-e58b"
"""What a product behind the platform repeats in its errors."""

SECRETS: Final[dict[str, str]] = {
    **{name: needle for name, (_, needle) in SEEDS.items()},
    "browser": "Annalinux",
    "token in OpenBao": OPENBAO_TOKEN,
    "token that a setting refers to": RESOLVED_TOKEN,
    "password of a DSN": DSN_PASSWORD,
    "password that a peer repeats": PEER_PASSWORD,
}
"""What must not be found, by what it is called. Tests add to it what they are given as they run."""

WATCHED: Final[list[Path]] = []
"""Data folders and logs that the servers of this process left."""

PIECE = 4 * 1024 * 1024
PRIVATE_KEY: Final = "private key of a log or a steward"
_PRIVATE_KEY = rb"PRIVATE\+KEY\+[^+\n]{1,200}\+[0-9a-f]{8}\+"


@dataclass(frozen=True, slots=True)
class Find:
    """A secret in a place where it must not be."""

    place: str
    secret: str

    def __str__(self) -> str:
        return f"{self.place}: {self.secret}"


def remember(name: str, secret: str) -> None:
    """From now on this is a secret, too."""
    SECRETS[name] = secret


def watch(*paths: Path) -> None:
    """Have these files and folders searched when all tests of this process are over."""
    WATCHED.extend(path for path in paths if path not in WATCHED)


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, as a URL and as JSON would write it."""
    return {secret.encode(), quote(secret).encode(), json.dumps(secret)[1:-1].encode()}


class Search:
    """One search for all secrets at once, in time that grows with the bytes alone."""

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self._names = {
            spelling: name
            for name, secret in (SECRETS if secrets is None else secrets).items()
            for spelling in spellings(secret)
        }
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 256 * 1024 * 1024
        alternatives = b"|".join(re.escape(each) for each in sorted(self._names, reverse=True))
        self._any = re2.compile(alternatives + b"|" + _PRIVATE_KEY, options)
        self._longest = max(300, *(len(each) for each in self._names))

    def in_bytes(self, place: str, content: bytes) -> Iterator[Find]:
        """The secrets in some bytes, each once."""
        found = {self._names.get(m.group(), PRIVATE_KEY) for m in self._any.finditer(content)}
        yield from (Find(place, name) for name in sorted(found))

    def in_file(self, path: Path) -> Iterator[Find]:
        """The secrets in a file: of a database its pages, as they lie there."""
        seen: set[str] = set()
        with path.open("rb") as file:
            kept = b""
            while piece := file.read(PIECE):
                for find in self.in_bytes(str(path), kept + piece):
                    if find.secret not in seen and not _is_kept_there(path, find.secret):
                        seen.add(find.secret)
                        yield find
                # What lies across two pieces.
                kept = piece[-self._longest :]

    def below(self, path: Path) -> Iterator[Find]:
        """The secrets in a file, or in all files of a folder; nothing where it is gone."""
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for each in files:
            if each.is_file() and not each.is_symlink():
                yield from self.in_file(each)


def _is_kept_there(path: Path, name: str) -> bool:
    """The keys folder of a data folder is where private keys are kept, mode 0600."""
    kept = path.parent.name == "keys" and path.suffix == ".key"
    return name == PRIVATE_KEY and kept and path.stat().st_mode & 0o077 == 0
