"""Hands the log to the newest version of its key, when an operator asks for it.

Invariant: nothing is handed on but by an entry that both keys have signed; where there is no newer
version, or OpenBao doesn't sign, nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of
from proofs.errors import ProofError
from proofs.governance import OPERATOR
from proofs.log_keys import LogKeys
from proofs.submission import check_text
from runtime.errors import OpenBaoError, RuntimeFloorError


class RotationBody(BaseModel):
    """Why the log is handed on; kept in the journal."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=4000)


def build_router(
    *,
    authenticator: Authenticator,
    rotate: Callable[[str, str], int | None],
    keys: LogKeys,
) -> APIRouter:
    """The route ``/proofs/rotation``."""
    router = APIRouter(prefix="/proofs", tags=["proofs"])
    operators = Depends(authenticator.require(OPERATOR))

    @router.post("/rotation")
    def run_rotation(body: RotationBody, caller: Caller = operators) -> dict[str, Any]:
        """Hands the log to the newest version of its key in OpenBao, by an entry both sign."""
        try:
            check_text(body.reason, "the reason")
            entry = rotate(caller.principal, body.reason)
        except ProofError as error:
            raise problem_of(error) from error
        except OpenBaoError as error:
            raise Problem(
                503,
                "signer-failed",
                "The log's signer does not sign",
                f"nothing was changed: {error}",
                headers={"Retry-After": "30"},
            ) from error
        except RuntimeFloorError as error:
            raise _kept(str(error)) from error
        if entry is None:
            raise _kept(
                f"{keys.current.label} is the newest version of the log's key: rotate it in"
                " OpenBao, then ask again. A key in a file has no versions: docs/secrets.md says"
                " how it moves to OpenBao."
            )
        return {
            "entry": entry,
            "key": str(keys.current),
            "former": [str(item.key) for item in keys.held[:-1]],
        }

    return router


def _kept(detail: str) -> Problem:
    return Problem(409, "no-newer-key", "The log keeps its key", detail)
