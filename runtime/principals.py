"""Who acts when nobody says who: the principals of commands, of the system and of its audits.

Invariant: each is a principal of the governance graph since the organisation was founded. The
command's is a setting; the others are the same in every organisation, as the gate knows them by
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proofs.policy import POLICY_PRINCIPAL

SYSTEM: Final = POLICY_PRINCIPAL
"""In whose name the platform decides by policy, and erases what has become old."""
AUDIT: Final = POLICY_PRINCIPAL
"""In whose name the platform audits itself; an audit changes nothing."""


@dataclass(frozen=True, slots=True)
class Principals:
    """The names of these principals in an organisation."""

    command: str
    system: str = SYSTEM
    audit: str = AUDIT
