"""pyrudof as a peer: ``bench_peer_pyrudof.py FOLDER NAME...``.

Invariant: only ``validate_shacl`` is timed, over a graph that is parsed and in memory; it always
validates the whole. Its regular expressions know no look-ahead, so patterns with one are left out.
See :mod:`bench_peers` for the files.
Source: https://pyrudof.readthedocs.io/
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pyoxigraph import RdfFormat, parse
from pyrudof import RDFFormat, Rudof, ShaclFormat

from ontology.vocab import Sh


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    rudof = Rudof()
    started = time.perf_counter()
    rudof.read_data(folder / "data.nt", RDFFormat.NTriples)
    rudof.read_shacl(_shapes(folder / "shapes.nt"), ShaclFormat.NTriples)
    _tell(loaded=time.perf_counter() - started)
    for name in names:
        rudof.begin_staging()
        rudof.remove_triples(_triples(folder / f"{name}.remove.nt"))
        rudof.add_triples(_triples(folder / f"{name}.add.nt"))
        started = time.perf_counter()
        report = rudof.validate_shacl()
        seconds = time.perf_counter() - started
        _tell(name=name, seconds=seconds, conforms=report.conforms)
        rudof.rollback_staging()


def _shapes(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if f"<{Sh.pattern}>" not in line or "(?" not in line)


def _triples(path: Path) -> list[tuple[str, str, str]]:
    return [
        (str(quad.subject), str(quad.predicate), str(quad.object))
        for quad in parse(path=path, format=RdfFormat.N_TRIPLES)
    ]


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
