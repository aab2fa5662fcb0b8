"""The stewards' signing keys over HTTP: which there are, and proposals to change them.

Invariant: nothing here changes a key. Each route but the list ends in a proposal to the governance
graph, which another person decides; until then what signed before signs on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.proposing import Proposing
from ontology.ids import Ids
from proofs.checkpoint import VerifierKey
from proofs.explain import Explainer
from proofs.genesis import keys_delta
from proofs.governance import OPERATOR, STEWARD, Governance, SigningKey, read_key
from proofs.submission import Request
from runtime.steward_keys import StewardKeys


class SigningKeyBody(BaseModel):
    """A key to enrol that was made at another place; without one, a key is made here."""

    model_config = ConfigDict(extra="forbid")

    public_key: str | None = Field(default=None, max_length=300)


def next_key(keys: StewardKeys, name: str, governance: Governance) -> VerifierKey:
    """The key of a steward that is enrolled next; its file is there. Raises :class:`Problem`."""
    try:
        return keys.unnamed(name, {item.verifier.label for item in governance.keys}).verifier
    except OSError as error:
        raise Problem(
            507,
            "disk-full",
            "The key could not be kept",
            f"the file of the key could not be written ({error.strerror}): free some space, or mend"
            " the folder of keys, and ask again",
            headers={"Retry-After": "60"},
        ) from error


def build_router(
    *,
    proposing: Proposing,
    governance: Callable[[], Governance],
    explainer: Explainer,
    keys: StewardKeys,
    authenticator: Authenticator,
    ids: Ids,
) -> APIRouter:
    """Routes below ``/stewards/{name}/keys``."""
    router = APIRouter(prefix="/stewards/{name}/keys", tags=["operations"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    def keys_of(name: str, caller: Caller) -> tuple[SigningKey, ...]:
        known, principal = governance(), ids.principal(name)
        theirs = [p for p in known.projects.values() if principal in p.stewards]
        if not known.has_role(principal, STEWARD) or not any(
            caller.may_read(project.graph) for project in theirs
        ):
            raise Problem(
                404,
                "unknown-steward",
                "There is no such steward",
                f"there is no steward {name!r}; 'fractalops stewards list' shows them",
            )
        return known.keys_of(principal)

    def here(name: str) -> set[str]:
        return {key.verifier.label for key in keys.held(name)}

    def propose(
        caller: Caller, name: str, new: list[VerifierKey], retired: list[str], why: str
    ) -> Response:
        delta = keys_delta(ids, [(name, key) for key in new], retired)
        request = Request(
            delta.additions,
            delta.removals,
            rationale=why,
            media_type="application/x-signing-keys",
            source=why.encode(),
        )
        view = proposing.submit(caller, request)
        if view is None:
            raise Problem(
                409, "wrong-state", "The key is so already", f"{why}: the graph says so already"
            )
        answer = {
            "enrols": [str(key) for key in new],
            "retires": retired,
            "proposal": proposing.shown(view),
        }
        return JSONResponse(answer, 201, headers={"Location": f"/proposals/{view.id}"})

    @router.get("")
    def list_keys(name: str, caller: Caller = anybody) -> dict[str, Any]:
        """The signing keys of a steward: whether each holds, since and until which log entry, and
        whether this server has the private half."""
        found, held = keys_of(name, caller), here(name)
        return {
            "items": [
                {
                    "key": item.iri,
                    "name": item.verifier.label,
                    "hash": item.verifier.key_id.hex(),
                    "public_key": str(item.verifier),
                    "active": not item.retired,
                    "since": explainer.enrolled(item),
                    "until": explainer.retired(item),
                    "here": item.verifier.label in held,
                }
                for item in found
            ]
        }

    @router.post("", status_code=201)
    def change_key(
        name: str, body: SigningKeyBody | None = None, caller: Caller = operators
    ) -> Response:
        """Propose a new key in the place of this server's own, or the enrolment of one that was
        made elsewhere; another person decides on it."""
        found = keys_of(name, caller)
        if body is not None and body.public_key is not None:
            key = read_key(body.public_key.strip())
            if key is None:
                raise Problem(
                    422,
                    "invalid-request",
                    "That is no public key",
                    "public_key is an Ed25519 verifier key in one line: name+hash+base64.",
                )
            if any(item.verifier == key for item in governance().keys):
                raise Problem(
                    409, "key-enrolled", "The key is enrolled already", f"{key.label} is known"
                )
            return propose(caller, name, [key], [], f"enrol another signing key of {name}")
        new = next_key(keys, name, governance())
        held = here(name)
        old = [k.iri for k in found if not k.retired and k.verifier.label in held]
        return propose(caller, name, [new], old, f"rotate the signing key of {name}")

    @router.post("/{key}/retire", status_code=201)
    def retire_key(name: str, key: str, caller: Caller = operators) -> Response:
        """Propose that a key, by its hash, ends; another person decides on it."""
        iri = ids.signing_key(name, key)
        item = next((item for item in keys_of(name, caller) if item.iri == iri), None)
        if item is None or item.retired:
            raise Problem(
                404,
                "unknown-key",
                "There is no such key",
                f"no key of {name!r} that holds has the hash {key!r}; 'fractalops stewards keys"
                f" {name}' shows them",
            )
        return propose(caller, name, [], [iri], f"retire signing key {key} of {name}")

    return router
