"""Every route that answers is in ``/openapi.json``, and everything there is a route."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HIDDEN = {"/docs", "/docs/oauth2-redirect", "/openapi.json", "/static-offline-docs"}
"""The description itself, and the page that shows it."""

# In a process of its own: it opens an engine of facts, of which a process has one.
SCRIPT = """
import json, re, sys
from pathlib import Path
from fastapi.routing import iter_route_contexts
from graph_api.app import create_app
from graph_api.assembly import Assembly
from runtime.settings import Settings

def shape(path):
    return re.sub(r"{[^}]*}", "{}", path)

with Assembly(Settings.read({"data": Path(sys.argv[1])}, {}), lambda line: None) as assembly:
    app = create_app(assembly)
    while hasattr(app, "_app"):
        app = app._app
    found = {}
    for route in iter_route_contexts(app.routes):
        found.setdefault(shape(route.path), set()).update(route.methods or ["GET"])
    document = app.openapi()
described = {
    shape(path): [method.upper() for method in methods]
    for path, methods in document["paths"].items()
}
print(json.dumps([{path: sorted(methods) for path, methods in found.items()}, described, document]))
"""


def test_every_route_is_described(checkout: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "data")],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    routes, described, document = json.loads(done.stdout.splitlines()[-1])
    undescribed = set()
    for path, methods in routes.items():
        # Browsers ask with OPTIONS beforehand, and clients spell some paths without the last slash.
        twin = described.get(path) or described.get(f"{path}/") or ()
        undescribed |= {(path, method) for method in methods if method not in (*twin, "OPTIONS")}
    assert {path for path, method in undescribed if method != "HEAD"} == HIDDEN & set(routes)
    assert set(described) <= set(routes)
    for methods in document["paths"].values():
        for about in methods.values():
            assert {"4XX", "5XX"} <= set(about["responses"])
            assert any(status[0] in "23" for status in about["responses"])
