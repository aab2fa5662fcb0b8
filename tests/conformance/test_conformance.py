"""The public suites, run as ``make conformance`` runs them, and what it writes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyoxigraph import NamedNode, RdfFormat, parse

from tests.conformance.page import SUITES
from tests.conformance.places import DEFAULT, located

EARL = "http://www.w3.org/ns/earl#"
RDF_TYPE = NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")

pytestmark = pytest.mark.live


@dataclass(frozen=True)
class Run:
    """One run of everything: its exit code, what it said, and the folder it wrote to."""

    code: int
    said: str
    folder: Path

    @property
    def document(self) -> dict[str, list[list[str]]]:
        found = json.loads((self.folder / "findings.json").read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    @property
    def page(self) -> str:
        return (self.folder / "conformance.md").read_text(encoding="utf-8")


def conformance(checkout: Path, suites: Path, folder: Path) -> Run:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.conformance", "--suites", str(suites)),
            *("--output", str(folder), "--page", str(folder / "conformance.md")),
            *("--json", str(folder / "findings.json")),
        ],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, folder)


@pytest.fixture(scope="session")
def run(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    # `make test SUITES=PATH` hands the variable on.
    suites = Path(os.environ.get("SUITES") or DEFAULT)
    try:
        located(suites if suites.is_absolute() else checkout / suites)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return conformance(checkout, suites, tmp_path_factory.mktemp("conformance"))


def test_every_test_that_did_not_pass_has_its_reason_and_no_reason_is_left_over(run: Run) -> None:
    assert run.code in (0, 1), run.said
    assert run.document["unexplained"] == [], run.said
    assert run.document["outlived"] == []
    assert run.code == 0


@pytest.mark.parametrize("suite", SUITES)
def test_each_test_of_a_suite_has_one_outcome_and_one_assertion(run: Run, suite: str) -> None:
    findings = [finding for finding in run.document["findings"] if finding[0] == suite]
    tests = Counter(iri for _, _, iri, _, _ in findings)
    assert tests
    assert set(tests.values()) == {1}
    report = list(parse((run.folder / f"{suite}.ttl").read_bytes(), format=RdfFormat.TURTLE))

    def values(predicate: str) -> Counter[str]:
        return Counter(
            quad.object.value
            for quad in report
            if quad.predicate.value == EARL + predicate and isinstance(quad.object, NamedNode)
        )

    assert values("test") == tests
    assert values("mode") == {EARL + "automatic": len(tests)}
    outcomes = values("outcome")
    assert sum(outcomes.values()) == len(tests)
    assert set(outcomes) <= {
        EARL + name for name in ("passed", "failed", "inapplicable", "untested")
    }
    for kind in ("TestSubject", "Assertor"):
        wanted = (RDF_TYPE, NamedNode(EARL + kind))
        assert sum((quad.predicate, quad.object) == wanted for quad in report) == 1


def test_the_page_says_what_the_run_found(checkout: Path, run: Run) -> None:
    kept = (checkout / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert kept == run.page, "run `make conformance` and commit the page"


def test_suites_that_are_not_there_are_named_with_where_to_get_them(
    checkout: Path, tmp_path: Path
) -> None:
    run = conformance(checkout, tmp_path, tmp_path)
    assert run.code == 2
    for repository in ("w3c/rdf-tests", "w3c/data-shapes", "w3c/rdf-canon"):
        assert repository in run.said
    assert not (tmp_path / "conformance.md").exists()
