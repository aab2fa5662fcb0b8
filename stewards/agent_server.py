"""The steward's graph for the LangGraph agent server, as ``langgraph.json`` names it.

Invariant: the same graph as everywhere, compiled without a checkpointer, for the server keeps its
own; and the same door, with the project's own token. Notes that may be lost are kept in memory
alone. Its clock is the machine's. The agent server has a licence of its own and is no dependency.
Source: https://docs.langchain.com/langsmith/application-structure
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ontology.ids import Ids
from stewards.errors import NotConfigured
from stewards.gate_client import GateClient
from stewards.graph import Graph, build
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore

URL, TOKEN, PROJECT, BASE = (
    "FRACTALOPS_URL",
    "FRACTALOPS_TOKEN",
    "FRACTALOPS_PROJECT",
    "FRACTALOPS_BASE",
)


async def steward() -> Graph:
    """The graph of the steward that the environment names: the platform's URL, a steward's token
    and its project, and the organisation's base where it isn't the usual one.

    Raises :class:`NotConfigured`.
    """
    # The server asks for it with every run, in its event loop.
    return await asyncio.to_thread(_named)


@cache
def _named() -> Graph:
    url, token, project = required(os.environ)
    ids = Ids(os.environ[BASE]) if os.environ.get(BASE) else Ids()
    client = GateClient.connect(url.rstrip("/"), token)
    return served(project, client, ids, WatermarkStore(Path(":memory:")))


def required(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """URL, token and project. Raises :class:`NotConfigured`."""
    missing = [name for name in (URL, TOKEN, PROJECT) if not environ.get(name)]
    if missing:
        raise NotConfigured(f"the agent server needs {', '.join(missing)} in its environment")
    return environ[URL], environ[TOKEN], environ[PROJECT]


def served(project: str, client: GateClient, ids: Ids, notes: WatermarkStore) -> Graph:
    """The graph of one project's steward."""
    name = f"steward-{project}"
    return build(sweep=Sweep(name, project, client, ids, notes, lambda: datetime.now(UTC)))
