"""A plugin of pytest: after all tests no seeded secret is in what their servers left.

Invariant: each process searches what its own tests left; a find in any of them fails the run, which
names file and secret. With xdist's workers the process that started them tells what they found.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.seeded_secrets import WATCHED, Search

KEY: Final = "seeded_secrets"
_found: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search, and fail the run for what is found, here or by a worker."""
    search = Search()
    own = [str(find) for path in WATCHED for find in search.below(path)]
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[KEY] = own
        return
    _found.extend(own)
    if _found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of xdist has ended."""
    _found.extend(getattr(node, "workeroutput", {}).get(KEY, ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was found, and never what it is."""
    if _found:
        terminalreporter.section("seeded secrets were found", red=True, bold=True)
        for line in _found:
            terminalreporter.write_line(line)
