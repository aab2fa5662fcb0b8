"""Where the public suites lie, and where they come from when they don't."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.manifest import Suite

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "suites"
PLACES = {
    "rdf-tests": ("sparql", "https://w3c.github.io/rdf-tests/sparql/"),
    "data-shapes": ("data-shapes-test-suite/tests", "urn:x-shacl-test:/"),
    "rdf-canon": ("tests", "https://w3c.github.io/rdf-canon/tests/"),
}
"""Each suite's repository, where in it the tests are, and the address they are known by."""


def located(suites: Path) -> dict[str, Suite]:
    """The suites below a folder. Raises :class:`FileNotFoundError`, which says what is missing."""
    found: dict[str, Suite] = {}
    missing: list[str] = []
    for repository, (below, base) in PLACES.items():
        folder = suites / repository / below
        if folder.is_dir():
            found[repository] = Suite(folder.resolve(), base)
        else:
            missing.append(
                f"  the W3C's repository w3c/{repository} as {suites / repository}"
                f" (its tests are looked for in {below})"
            )
    if missing:
        raise FileNotFoundError(
            "These test suites are not there. Clone each into one folder and name the folder, as in"
            " `make conformance SUITES=PATH`:\n" + "\n".join(missing)
        )
    return found
