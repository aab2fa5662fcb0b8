"""A key of OpenBao's transit engine: what it tells of itself, which is never its private half.

Invariant: a key that can leave OpenBao signs no log here.
Specification: https://openbao.org/api-docs/secret/transit/
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import OpenBaoError


@dataclass(frozen=True, slots=True)
class TransitKey:
    """The public halves (32 bytes) of the versions that there are, by their number; ``oldest`` is
    the first that can still sign."""

    versions: Mapping[int, bytes]
    latest: int
    oldest: int

    def version_of(self, public: bytes) -> int | None:
        """The version with this public half."""
        return next((n for n, key in self.versions.items() if key == public), None)


def transit_key(what: str, data: Mapping[str, Any]) -> TransitKey:
    """The key that the engine describes as ``data``. Raises :class:`OpenBaoError`."""
    if data.get("type") != "ed25519":
        raise OpenBaoError(
            f"{what} is of type {data.get('type')!r}, and a log is signed with Ed25519: make one"
            " with 'bao write -f MOUNT/keys/NAME type=ed25519' and name it"
        )
    if data.get("exportable") or data.get("allow_plaintext_backup"):
        raise OpenBaoError(
            f"{what} may be exported, and the log's private key is to stay in OpenBao: make another"
            " one that may not, and name it"
        )
    if data.get("derived"):
        raise OpenBaoError(f"{what} is a derived one, which signs for many: make one that isn't")
    try:
        versions = {
            int(number): base64.b64decode(str(version["public_key"]), validate=True)
            for number, version in data["keys"].items()
        }
        latest = int(data["latest_version"])
        oldest = max(int(data.get("min_encryption_version") or 0), min(versions))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpenBaoError(f"{what}: OpenBao describes it in a way that is not known") from error
    if latest not in versions or any(len(public) != 32 for public in versions.values()):
        raise OpenBaoError(f"{what}: OpenBao describes it in a way that is not known")
    return TransitKey(versions, latest, oldest)
