"""Checking proofs: bundles per second, and ``audit`` and a rebuild in quads per second.

Baselines: one Ed25519 check of the same size, of which a bundle takes several; the set hash alone
over as many lines; the same quads bulk-loaded into an empty store on the same disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench_context import Context, say, timed
from bench_figures import Baseline, Figure
from bench_server import Server
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyoxigraph import RdfFormat, Store

from graph_api.client import Client
from proofs.digest import GraphState
from proofs.verify import Status, verify_bundle

_MESSAGE_BYTES = 2000


def measure(context: Context) -> list[Figure]:
    return [_verified(context), *_audited(context)]


def _verified(context: Context) -> Figure:
    say("verifying bundles")
    server, count = context.server, context.sizes.verifications
    with server.client() as client:
        # An entry of its own, so that the size of its delta doesn't decide.
        entry = int(
            client.create_project("verified", label=None, restricted=False)["proposal"]["proof"]
        )
        server.settle()
        bundle = client.bundle(entry)
    verdict = verify_bundle(bundle, None)
    assert verdict.status is Status.UNANCHORED, verdict
    key = Ed25519PrivateKey.generate()
    message = bytes(_MESSAGE_BYTES)
    signature, public = key.sign(message), key.public_key()

    def verify() -> None:
        for _ in range(count):
            verify_bundle(bundle, None)

    def check() -> None:
        for _ in range(count):
            public.verify(signature, message)

    rounds = range(context.sizes.rounds)
    return Figure(
        "bundles verified, one core",
        "/s",
        tuple(count / timed(verify) for _ in rounds),
        (Baseline("Ed25519 check", tuple(count / timed(check) for _ in rounds)),),
        note=f"a bundle of {len(bundle)} bytes",
    )


def _audited(context: Context) -> list[Figure]:
    server = context.server
    audits, hashed, rebuilt, loaded = [], [], [], []
    quads = 0
    for number in range(context.sizes.rounds):
        say(f"audit, round {number + 1}")
        server.settle()
        with server.client() as client:
            quads = int(client.status()["quads"])
            audits.append(quads / timed(_audit, client))
            dump = client.send(
                "GET",
                "/graphs",
                parameters={"graph": "all"},
                headers={"Accept": "application/n-quads"},
            ).content
        lines = dump.splitlines(keepends=True)
        hashed.append(len(lines) / timed(GraphState.empty().add, lines))
        path = context.folder / f"loaded-{number}"
        loaded.append(len(lines) / timed(_load, path, dump))
    context.stop_server()
    for number in range(context.sizes.rounds):
        say(f"rebuild, round {number + 1}")
        with Server(server.data) as whole:
            usual = whole.seconds
        for name in ("graph", "snapshots"):
            shutil.rmtree(server.data / name)
        for path in server.data.glob("index.sqlite*"):
            path.unlink()
        with Server(server.data) as again:
            rebuilt.append(quads / max(again.seconds - usual, 1e-3))
    size = f"{quads:,} quads"
    return [
        Figure(
            "audit",
            "quads/s",
            tuple(audits),
            (Baseline("set hash alone, one core", tuple(hashed)),),
            note=size,
        ),
        Figure(
            "rebuild of graph and index at start",
            "quads/s",
            tuple(rebuilt),
            (Baseline("bulk load into pyoxigraph", tuple(loaded)),),
            note=f"{size}; the time of a usual start is taken off",
        ),
    ]


def _audit(client: Client) -> None:
    answer = client.audit()
    assert answer["ok"], answer


def _load(path: Path, dump: bytes) -> None:
    Store(str(path)).bulk_load(dump, RdfFormat.N_QUADS)
