"""Fixtures for every test. Each floor keeps its own in its own folder."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.secret_search import (  # noqa: F401  (hooks of pytest)
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

# A shell that runs the tests in the background has them ignore Ctrl-C, and every program that they
# start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A run starts hundreds of interpreters. Where the user's environment keeps Python from writing
# bytecode, each of them would compile the same modules again: a second of every server's start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that start servers first: workers take whole files in this order, and the last ones
    should be short."""
    live = {item.path for item in items if item.get_closest_marker("live")}
    items.sort(key=lambda item: item.path not in live)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes that are no text by their parameter: workers must call a test the same, and what
    gzip packs holds the time."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parent.parent
