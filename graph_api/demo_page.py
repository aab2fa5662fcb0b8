"""The part of the demonstration in which pages speak, with PostHog's client for browsers.

Invariant: a page's key is public, so what only pages say changes nothing by itself. Without Node.js
or without a registry of its packages this part says so and leaves the rest of the demonstration as
it was.
Source: https://posthog.com/docs/libraries/js
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from graph_api import demo_report as report
from graph_api.cli_errors import CommandError
from graph_api.cli_output import working
from graph_api.client import Client
from runtime.errors import ProcessError
from runtime.process_exec import capture

if TYPE_CHECKING:
    from rich.console import Console

KNOWN, UNKNOWN = ("/", "/checkout"), ("/gift-cards",)
"""Pages that the shop's services speak of as well, and those that no service ever named."""

_INSTALL_SECONDS = 120.0
_VISIT_SECONDS = 60.0
_PATIENCE = 60.0


def show_page(
    console: Console, client: Client, project: str, key: str, examples: Path, folder: Path
) -> None:
    """Let pages be viewed with this browser key, and show what that did and did not do.

    Raises :class:`CommandError`.
    """
    report.heading(console, "Pages of the shop speak too, with a key that everybody can read")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        report.line(console, "Left out: Node.js isn't here. Install node and npm to see this part.")
        return
    page = folder / "page"
    shutil.copytree(examples / "shop" / "page", page, ignore=shutil.ignore_patterns("node_modules"))
    try:
        with working("Installing PostHog's client for browsers"):
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            capture(install, timeout=_INSTALL_SECONDS, cwd=page).checked()
    except ProcessError:
        report.line(
            console,
            "Left out: npm couldn't install posthog-js-lite. Is its registry reachable?",
        )
        return
    before = client.status()
    paths = (*KNOWN, *UNKNOWN)
    visit = [node, "visit.mjs", client.url, key, *paths]
    try:
        with working("Somebody looks at pages"):
            capture(visit, timeout=_VISIT_SECONDS, cwd=page).checked()
            _wait(client, int(before["facts"]["events"]) + len(paths))
            for steward in client.stewards():
                if steward["project"] == project:
                    client.run_steward(str(steward["name"]))
    except ProcessError as error:
        raise CommandError(f"the page's client failed: {error}") from error
    after = client.status()
    if after["state_digest"] != before["state_digest"]:
        raise CommandError("what pages alone said changed the graph")
    waiting = client.proposals(state="awaiting decision", project=project, limit=10)["items"]
    report.line(
        console,
        f"{len(paths)} views arrived. {' and '.join(KNOWN)} are pages that the shop's services had"
        f" named. {' and '.join(UNKNOWN)} was new, and only a page says so: the graph is what it"
        f" was, and {len(waiting)} proposal{'' if len(waiting) == 1 else 's'} of the steward's"
        " waits for a person.",
    )
    for proposal in waiting:
        report.line(console, f"  {proposal['id']}: {proposal['rationale']}")


def _wait(client: Client, events: int) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        status = client.status()
        if int(status["facts"]["events"]) >= events and not int(status["inbox"]["pending"]):
            return
        if time.monotonic() > until:
            raise CommandError(f"what the pages sent did not become facts in {_PATIENCE:.0f} s")
        time.sleep(0.2)
