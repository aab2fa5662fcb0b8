"""RDF4J's ShaclSail as a peer, built from ``tests/bench/java`` with Maven when it is asked for.

Invariant: nothing is written in the checkout. Where there is no Java, no Maven or no registry, that
is said instead of a figure.
Source: https://rdf4j.org/documentation/programming/shacl/
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench_peers import Peer, run

PROJECT = Path(__file__).with_name("java")
STORES = {"lmdb": "ShaclSail commit, LMDB", "memory": "ShaclSail commit, memory"}


class Unavailable(Exception):
    """Why the peer cannot be measured here, in words for the table."""


def build(folder: Path) -> list[str]:
    """The command of the built program, whose classes are kept in ``folder``. Raises
    :class:`Unavailable`."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise Unavailable(f"RDF4J's ShaclSail: not measured, there is no {tool} on PATH")
    libraries, classes = folder / "lib", folder / "classes"
    maven = [
        *("mvn", "--quiet", "--batch-mode", "--file", str(PROJECT / "pom.xml")),
        *(f"-Dtarget={folder}", "compile", "dependency:copy-dependencies"),
        f"-DoutputDirectory={libraries}",
    ]
    done = subprocess.run(maven, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        why = errors[0].removeprefix("[ERROR] ") if errors else f"mvn ended with {done.returncode}"
        raise Unavailable(f"RDF4J's ShaclSail: not measured, it could not be built: {why}")
    return ["java", "-cp", os.pathsep.join((f"{libraries}/*", str(classes))), "Rdf4jPeer"]


def measure(
    command: Sequence[str],
    kind: str,
    folder: Path,
    place: Path,
    names: Sequence[str],
    budget: float,
) -> Peer:
    """Runs the changes; ``kind`` is a key of :data:`STORES`, ``place`` where it keeps its store."""
    place.mkdir(parents=True, exist_ok=True)
    return run(STORES[kind], [*command, kind, str(folder), str(place)], names, budget)
