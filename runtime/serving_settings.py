"""Settings of the server: where it answers, what it keeps, and how much a question may take.

Invariant: the defaults of addresses, ports, paths and names stand here and nowhere else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pyoxigraph import NamedNode

from ontology.ids import DEFAULT_BASE, Ids
from runtime.local_urls import LOOPBACK

MEBIBYTE = 1024 * 1024

GRPC_PORT: Final = 4317
"""Where clients expect OTLP/gRPC: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-default-port"""


def _workers() -> int:
    """the processors there are, 8 at most"""
    return max(1, min(8, os.cpu_count() or 1))


class ServingSettings(BaseModel):
    """The server itself."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    data: Path = Path("data")
    """the data folder"""
    host: str = LOOPBACK
    """address to listen on"""
    port: int = Field(default=8080, ge=0, le=65535)
    """port to listen on; 0 for any free one"""
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | Literal["off"] | None = None
    """where OTLP/gRPC is taken in, or `off`; without it 4317 where that is free"""
    profile: Literal["development", "production"] = "development"
    """`production` refuses to start with the log's key in a file"""
    base: str = DEFAULT_BASE
    """what every IRI starts with; it counts at the first start alone"""
    organisation: str = Field(default="organisation", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """the organisation; it counts at the first start alone"""
    operator: str = Field(default="operator", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """the principal that founds it and that commands act as; it counts at the first start alone"""
    time_lock_seconds: int = Field(default=24 * 3600, ge=0)
    """how long what needs two people waits for a lone one; it counts at the first start alone"""
    mirror: Path | None = None
    """folder that the public log is mirrored to, and compared with at every start"""
    witness_keys: tuple[str, ...] = ()
    """verifier keys of witnesses, `name+hash+base64`"""
    machines: Path | None = None
    """file that says [by which ways hosts are reached](machines.md); without it the containers of
    this machine alone are"""

    query_workers: int = Field(default_factory=_workers, ge=1, le=64)
    """processes that answer queries"""
    query_seconds: float = Field(default=30.0, gt=0)
    """how long a query may run"""
    query_memory: int = Field(default=1024 * MEBIBYTE, ge=64 * MEBIBYTE)
    """memory of each of these processes, bytes"""
    query_result_bytes: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE)
    """size of an answer, bytes"""
    snapshot_bytes: int = Field(default=4096 * MEBIBYTE, ge=MEBIBYTE)
    """what older snapshots may hold, bytes"""
    proposal_bytes: int = Field(default=32 * MEBIBYTE, ge=1024)
    """size of a proposal, bytes"""

    @field_validator("base")
    @classmethod
    def _base_makes_iris(cls, base: str) -> str:
        # Every IRI of the graph begins with it, and it is never changed.
        NamedNode(Ids(base).graph("ontology"))
        return base
