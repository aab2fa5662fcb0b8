"""Runs the public conformance suites: ``python -m tests.conformance --suites PATH``.

Invariant: the suites are read in place and never copied; what was found is written down whole, and
the exit code is 0 only when every test that did not pass has its reason and no reason is left over.
It is 1 when not, and 2 when a suite is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from tests.conformance import earl, page
from tests.conformance.canon import CanonSuite
from tests.conformance.cases import Finding
from tests.conformance.description import DescriptionSuite
from tests.conformance.manifest import Suite
from tests.conformance.places import DEFAULT, located
from tests.conformance.protocol import GraphStoreSuite, ProtocolSuite
from tests.conformance.queries import QuerySuite
from tests.conformance.reasons import Reasons
from tests.conformance.server import Platform
from tests.conformance.shacl import ShaclSuite

ROOT = Path(__file__).resolve().parents[2]
MEMORY = "/dev/shm"
"""Hundreds of small snapshots are cut; where there is a disk in memory, they go there."""

_OTHERS = frozenset({"protocol", "graph-store-protocol", "service-description"})


def run(suites: dict[str, Suite], folder: Path) -> Iterator[Finding]:
    """Every finding, suite by suite."""
    sparql = suites["rdf-tests"]
    platform = Platform(folder)
    with (
        ThreadPoolExecutor(1) as beside,
        platform.serving(),
        platform.client() as client,
    ):
        # It waits for other processes most of the time.
        canon = beside.submit(lambda: list(CanonSuite(suites["rdf-canon"]).run()))
        for part in ("core", "sparql"):
            yield from ShaclSuite(suites["data-shapes"], part).run()
        yield from QuerySuite(sparql, "sparql10", platform, client).run()
        yield from QuerySuite(sparql, "sparql11", platform, client).run(_OTHERS)
        yield from ProtocolSuite(sparql, platform, client).run()
        yield from GraphStoreSuite(sparql, platform, client).run()
        yield from DescriptionSuite(sparql, platform, client).run()
        yield from QuerySuite(sparql, "sparql12", platform, client).run()
        yield from canon.result()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--suites", type=Path, default=DEFAULT)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "conformance")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "conformance.md")
    parser.add_argument("--json", type=Path, help="write the findings there too")
    parser.add_argument("--notes", action="store_true", help="print what was seen of each failure")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    try:
        suites = located(given.suites)
    except FileNotFoundError as error:
        console.print(str(error), markup=False)
        return 2
    reasons = Reasons.read()
    with ExitStack() as closing:
        folder = closing.enter_context(
            tempfile.TemporaryDirectory(
                prefix="fractalops-conformance-",
                dir=MEMORY if os.access(MEMORY, os.W_OK) else None,
                ignore_cleanup_errors=True,
            )
        )
        findings = list(run(suites, Path(folder)))
    return _told(findings, reasons, given, console)


def _told(
    findings: list[Finding], reasons: Reasons, given: argparse.Namespace, console: Console
) -> int:
    """Writes down what was found; gives the exit code."""
    given.output.mkdir(parents=True, exist_ok=True)
    for suite in page.SUITES:
        own = [finding for finding in findings if finding.case.suite == suite]
        report = earl.report(own, reasons, version("fractalops"), datetime.now(UTC).date())
        (given.output / f"{suite}.ttl").write_bytes(report)
    given.page.write_text(page.page(findings, reasons), encoding="utf-8")
    unexplained, outlived = reasons.unexplained(findings), reasons.outlived(findings)
    if given.json is not None:
        document = {
            "findings": [
                [f.case.suite, f.case.group, f.case.iri, f.outcome.value, f.note] for f in findings
            ],
            "unexplained": [finding.case.iri for finding in unexplained],
            "outlived": outlived,
        }
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for finding in findings if given.notes else unexplained:
        if finding.note:
            console.print(
                f"{finding.outcome.value}: {finding.case.iri}: {finding.note}", markup=False
            )
    for text in outlived:
        console.print(f"a reason is left over: {text}", markup=False)
    page.show(findings, console)
    console.print(f"EARL reports: {given.output}; the page: {given.page}", markup=False)
    if unexplained or outlived:
        console.print(
            f"{len(unexplained)} tests did not pass and have no reason, {len(outlived)} reasons are"
            " left over. Mend the cause, or tests/conformance/reasons.toml",
            markup=False,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
