"""References to secrets: ``bao://MOUNT/PATH#FIELD``, which say where a secret is and never what.

Invariant: a reference is what graph, settings and arguments of jobs may hold; it has one spelling,
and no part of it leads out of its mount. The secret is in a KV engine of version 2:
https://openbao.org/docs/secrets/kv/kv-v2/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from runtime.errors import SettingsError

SCHEME: Final = "bao://"
MAX_LENGTH: Final = 512

_SEGMENT = r"(?!\.{1,2}(?:/|#))[A-Za-z0-9._-]{1,128}"
_REFERENCE = re.compile(
    rf"bao://({_SEGMENT})/({_SEGMENT}(?:/{_SEGMENT}){{0,15}})#([\w.-]{{1,128}})"
)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The field of a secret at a path below the mount of its engine."""

    mount: str
    path: str
    field: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.mount}/{self.path}#{self.field}"

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """The reference in a text. Raises :class:`SettingsError`, which doesn't repeat the text: it
        may be a secret that somebody took for a reference."""
        found = _REFERENCE.fullmatch(text) if len(text) <= MAX_LENGTH else None
        if found is None:
            raise SettingsError(
                "a reference to a secret reads bao://MOUNT/PATH#FIELD, such as"
                " bao://secret/fractalops/glitchtip#token"
            )
        return cls(*found.groups())


def is_reference(text: str) -> bool:
    """Whether a text means a secret elsewhere and isn't one."""
    return text.startswith(SCHEME)
