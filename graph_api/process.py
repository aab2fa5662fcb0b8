"""What composition roots hand on of their process: its clock, its random names, and its end.

Invariant: what is handed these doesn't reach for the clock or for chance by itself, so that tests
decide both.
"""

from __future__ import annotations

import logging
import os
import secrets
from datetime import UTC, datetime

LOGGER = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_proposal_id(moment: datetime) -> str:
    """A short identifier that sorts by day: ``20261122-1cb8bef4a2``."""
    return f"{moment:%Y%m%d}-{secrets.token_hex(5)}"


def new_run_id() -> str:
    """An identifier for a run of a job, of the same form."""
    return new_proposal_id(utc_now())


def new_process_name() -> str:
    """What tells this process from those before it."""
    return secrets.token_hex(6)


def end_process(reason: str) -> None:
    """Ends the process at once: what reached the disk is unknown, and the next start finds out."""
    LOGGER.critical("stopping: %s", reason)
    logging.shutdown()
    os._exit(70)
