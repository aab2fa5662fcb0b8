"""pySHACL as a peer: ``bench_peer_pyshacl.py whole|neighbourhood FOLDER NAME...``.

Invariant: only ``pyshacl.validate`` is timed, over a graph that is parsed and in memory, with the
shapes and the options of :mod:`shapes.reference`. See :mod:`bench_peers` for the files.
Source: https://github.com/RDFLib/pySHACL
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

from pyshacl import validate
from rdflib import Graph
from rdflib.namespace import SH

from shapes.reference import MAX_DEPTH, ReferenceShapes


def main() -> None:
    mode, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    warnings.simplefilter("ignore")
    shapes = ReferenceShapes((folder / "shapes.nt").read_bytes())
    started = time.perf_counter()
    whole = _parsed(folder / "data.nt") if mode == "whole" else None
    _tell(loaded=time.perf_counter() - started)
    for name in names:
        foci = None
        if whole is None:
            data = _parsed(folder / f"{name}.around.nt")
            lines = (folder / f"{name}.foci.txt").read_text(encoding="utf-8")
            foci = set(lines.splitlines())
        else:
            data = whole
            _change(data, folder, name)
        started = time.perf_counter()
        found = _validate(data, shapes)
        seconds = time.perf_counter() - started
        broken = {node.n3() for node in found.objects(None, SH.focusNode)}
        _tell(name=name, seconds=seconds, conforms=not (broken if foci is None else broken & foci))
        if whole is not None:
            _change(whole, folder, name, back=True)


def _parsed(path: Path) -> Graph:
    return Graph().parse(path, format="nt")


def _change(data: Graph, folder: Path, name: str, *, back: bool = False) -> None:
    added, removed = (_parsed(folder / f"{name}.{which}.nt") for which in ("add", "remove"))
    for triple in added if back else removed:
        data.remove(triple)
    for triple in removed if back else added:
        data.add(triple)


def _validate(data: Graph, shapes: ReferenceShapes) -> Graph:
    _, found, _ = validate(
        data,
        shacl_graph=shapes.graph,
        inplace=True,
        allow_infos=True,
        allow_warnings=True,
        max_validation_depth=MAX_DEPTH,
    )
    assert isinstance(found, Graph)
    return found


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
