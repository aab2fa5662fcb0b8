"""DataHub's metadata service as far as its own clients speak to it, over real HTTP.

Invariant: what is taken was valid by DataHub's own schemas: the proposal, the aspect by its
class, and that the entity's kind has such an aspect. What isn't valid is answered as DataHub
answers it and kept in :attr:`Gms.invalid`, so that a test can see that there was none. Answers are
those of ``AspectResource`` and of rest.li's errors.
Source: https://docs.datahub.com/docs/api/restli/restli-overview
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from datahub.emitter.mcp import MetadataChangeProposalWrapper
from datahub.emitter.serialization_helper import post_json_transform
from datahub.metadata.schema_classes import (
    ASPECT_NAME_MAP,
    KEY_ASPECTS,
    MetadataChangeProposalClass,
)
from datahub.metadata.urns import Urn

Json = dict[str, Any]

CONFIG = {
    "noCode": "true",
    "models": {},
    "versions": {"acryldata/datahub": {"version": "v1.7.0", "commit": "0" * 40}},
    "datahub": {"serverType": "quickstart", "serverEnv": "core"},
    "statefulIngestionCapable": True,
    "patchCapable": True,
    "telemetry": {"enabledCli": False},
}


@dataclass(frozen=True)
class Mood:
    """How the next requests to write are answered instead of being taken.

    ``status`` 0 closes the connection without an answer, -1 keeps it waiting until the server ends;
    ``first`` takes the request all the same, so that only the answer is lost.
    """

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    first: bool = False


def failed(status: int, message: str) -> str:
    """An error as rest.li writes it."""
    return json.dumps(
        {
            "exceptionClass": "com.linkedin.restli.server.RestLiServiceException",
            "message": message,
            "status": status,
            "stackTrace": "com.linkedin.restli.server.RestLiServiceException: at...",
        }
    )


BUSY = Mood(429, failed(429, "slow down"), (("Retry-After", "7"),))
BROKEN = Mood(500, failed(500, "java.lang.NullPointerException"))
INSIDE = Mood(200, failed(500, "No primary storage"))
PAGE = Mood(200, "<html><head><title>Log in</title></head><body>please</body></html>")
CLOSED = Mood(0)
LOST = Mood(0, first=True)
HANGING = Mood(-1)


@dataclass
class Gms:
    """What the server got. ``aspects`` holds the newest value of each aspect that was written
    whole, ``patched`` the patches by URN and aspect; ``moods`` are used up one by one, ``refused``
    are status and message by URN, ``token`` is what callers have to show."""

    url: str = ""
    token: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    proposals: list[Json] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    aspects: dict[tuple[str, str], Json] = field(default_factory=dict)
    patched: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    moods: deque[Mood] = field(default_factory=deque)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    config: Json = field(default_factory=lambda: dict(CONFIG))
    written: Callable[[int], None] = lambda count: None
    released: threading.Event = field(default_factory=threading.Event)

    def forget(self) -> None:
        """Forgets the requests, not the metadata."""
        self.requests.clear()
        self.proposals.clear()

    @property
    def urns(self) -> set[str]:
        """What the proposals since then were about."""
        return {it["entityUrn"] for it in self.proposals}

    def removed(self, urn: str) -> bool | None:
        """Whether an entity counts as removed; ``None`` where nobody said."""
        said = None
        for proposal in self.proposals:
            if proposal["entityUrn"] == urn and proposal["aspectName"] == "status":
                said = _is_removed(proposal)
        return said

    def complaint(self, proposal: Json) -> tuple[int, str] | None:
        """Why a proposal isn't taken: status and message."""
        urn = str(proposal.get("entityUrn"))
        if urn in self.refused:
            return self.refused[urn]
        complaint = _complaint(proposal)
        if complaint is None:
            return None
        self.invalid.append(f"{urn}: {complaint}")
        return 422, complaint

    def take(self, proposal: Json) -> None:
        """Takes a proposal that there is no complaint about."""
        urn = proposal["entityUrn"]
        value = json.loads(proposal["aspect"]["value"])
        key = urn, proposal["aspectName"]
        if proposal["changeType"] == "PATCH":
            self.patched.setdefault(key, []).append(value)
        else:
            self.aspects[key] = value
        self.proposals.append({**proposal, "value": value})
        self.written(len(self.proposals))


def _is_removed(proposal: Json) -> bool:
    value = proposal["value"]
    if proposal["changeType"] == "PATCH":
        return any(it["path"] == "/removed" and it["value"] for it in _operations(value))
    return bool(value["removed"])


def _operations(value: Any) -> list[Json]:
    """Those of a patch, which says or doesn't say what the keys of its arrays are."""
    found: list[Json] = value["patch"] if isinstance(value, dict) else value
    return found


def _complaint(proposal: Json) -> str | None:
    """What DataHub's own classes have against a proposal."""
    try:
        parsed = MetadataChangeProposalClass.from_obj(
            post_json_transform(
                {**proposal, "aspect": {**proposal["aspect"], "value": proposal["aspect"]["value"]}}
            )
        )
        urn = Urn.from_string(str(parsed.entityUrn))
        if urn.entity_type != parsed.entityType:
            return f"{parsed.entityType} is not what the URN is of"
        name = str(parsed.aspectName)
        if name not in KEY_ASPECTS[urn.entity_type].ASPECT_INFO["entityAspects"]:
            return f"Unknown aspect {name} for entity {urn.entity_type}"
        value = json.loads(proposal["aspect"]["value"])
        if parsed.changeType == "PATCH":
            known = all(it["op"] in ("add", "remove", "replace") for it in _operations(value))
            return None if known else "an operation that is none of a patch"
        aspect = ASPECT_NAME_MAP[name].from_obj(post_json_transform(value))
        whole = MetadataChangeProposalWrapper(entityUrn=str(urn), aspect=aspect)
        return None if aspect.validate() and whole.validate() else "the aspect isn't valid"
    except Exception as error:  # noqa: BLE001 - whatever DataHub's classes raise is a complaint
        return f"{type(error).__name__}: {error}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are two small writes, which would wait for each other.
    disable_nagle_algorithm = True
    gms: Gms

    def do_GET(self) -> None:
        gms, parts = self._begin()
        if gms.token and self.headers.get("Authorization") != f"Bearer {gms.token}":
            return self._answer(401, failed(401, f"no such token: {gms.token}x"))
        if parts.path == "/config":
            return self._answer(200, json.dumps(gms.config))
        if parts.path.startswith("/aspects/"):
            (name,) = parse_qs(parts.query)["aspect"]
            value = gms.aspects.get((unquote(parts.path.removeprefix("/aspects/")), name))
            if value is None:
                return self._answer(404, failed(404, "no such aspect"))
            full = ASPECT_NAME_MAP[name].RECORD_SCHEMA.fullname.replace(".pegasus2avro", "")
            return self._answer(200, json.dumps({"version": 0, "aspect": {full: value}}))
        gms.unknown.append(f"GET {self.path}")
        return self._answer(404, failed(404, "no such resource"))

    def do_POST(self) -> None:
        gms, parts = self._begin()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if gms.token and self.headers.get("Authorization") != f"Bearer {gms.token}":
            return self._answer(403, failed(403, "may not write"))
        mood = gms.moods.popleft() if gms.moods else None
        if mood is not None and not mood.first:
            return self._in(mood)
        action = parse_qs(parts.query).get("action", [""])[0]
        if parts.path != "/aspects" or action not in ("ingestProposal", "ingestProposalBatch"):
            gms.unknown.append(f"POST {self.path}")
            return self._answer(404, failed(404, "no such resource"))
        document = json.loads(body)
        proposals = document["proposals"] if action.endswith("Batch") else [document["proposal"]]
        # A batch is taken as a whole, or not at all.
        for proposal in proposals:
            complaint = gms.complaint(proposal)
            if complaint is not None:
                return self._answer(complaint[0], failed(*complaint))
        for proposal in proposals:
            gms.take(proposal)
        if mood is not None:
            return self._in(mood)
        return self._answer(200, json.dumps({"value": "success"}))

    def _begin(self) -> tuple[Gms, Any]:
        self.gms.requests.append((self.command, self.path))
        return self.gms, urlsplit(self.path)

    def _in(self, mood: Mood) -> None:
        if mood.status <= 0:
            if mood.status < 0:
                self.gms.released.wait(60)
            self.close_connection = True
            return
        self._answer(mood.status, mood.body, mood.headers)

    def _answer(self, status: int, body: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        payload = body.encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def serving_datahub() -> Iterator[Gms]:
    """A DataHub on a port that the system picked, for as long as the block lasts."""
    gms = Gms()
    handler = type("Handler", (_Handler,), {"gms": gms})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    gms.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield gms
    finally:
        gms.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
