"""The words for how a run ended.

Invariant: only ``succeeded`` says that it came to its end and did so well; what isn't known has a
word of its own.
"""

from __future__ import annotations

from typing import Final

SUCCEEDED: Final = "succeeded"
"""It ended by itself with 0, or was answered with a status of 2xx."""
FAILED: Final = "failed"
"""It ended by itself otherwise, or was answered with another status."""
TIMED_OUT: Final = "timed-out"
CANCELLED: Final = "cancelled"
UNKNOWN: Final = "unknown"
"""It may have done all, part or nothing."""
NOT_STARTED: Final = "not-started"
"""Nothing was started, or certainly nothing arrived."""
