"""A client of the HTTP API, as the command line uses it.

Invariant: what the command line can do, it does by these calls, which anybody may make: one for
each thing that is asked of the server. How they end is told as :mod:`graph_api.client_connection`
does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from graph_api.cli_errors import Unreachable
from graph_api.client_connection import (
    JSON,
    Json,
    Parameters,
    items,
    refused,
    segment,
)
from graph_api.client_control import ControlCalls

_LINES = "application/x-ndjson"


class Client(ControlCalls):
    """The calls; what it is made with is as for a :class:`Connection`."""

    def status(self) -> Json:
        return self.get("/status")

    # --- projects and tokens

    def projects(self) -> list[Json]:
        return items(self.get("/projects"))

    def create_project(self, slug: str, *, label: str | None, restricted: bool) -> Json:
        document: Json = {"slug": slug, "restricted": restricted}
        if label is not None:
            document["label"] = label
        return self.post("/projects", document)

    def keys(self, slug: str) -> list[Json]:
        return items(self.get(f"/projects/{segment(slug)}/keys"))

    def revoke_key(self, slug: str, identifier: str) -> None:
        self.send("DELETE", f"/projects/{segment(slug)}/keys/{segment(identifier)}")

    def create_key(self, slug: str, *, browser: bool = False) -> Json:
        return self.post(
            f"/projects/{segment(slug)}/keys", {"kind": "browser" if browser else "server"}
        )

    def provision_glitchtip(self, slug: str) -> Json:
        """The project's DSN in GlitchTip."""
        return self.post(f"/projects/{segment(slug)}/glitchtip")

    def lend_key(self, slug: str) -> Json:
        """An ingest key that ends with the server's process, and which log the server keeps."""
        return self.post(f"/projects/{segment(slug)}/keys", parameters={"lent": "true"})

    def tokens(self) -> list[Json]:
        return items(self.get("/tokens"))

    def create_token(self, name: str, *, role: str, project: str | None) -> Json:
        document: Json = {"name": name, "role": role}
        if project is not None:
            document["project"] = project
        return self.post("/tokens", document)

    def revoke_token(self, identifier: str) -> None:
        self.send("DELETE", f"/tokens/{segment(identifier)}")

    def upstreams(self, project: str) -> list[Json]:
        return items(self.get(f"/projects/{segment(project)}/upstreams"))

    def state_upstream(self, project: str, kind: str, document: Json) -> Json:
        path = f"/projects/{segment(project)}/upstreams/{segment(kind)}"
        return self.object_in(
            self.send(
                "PUT",
                path,
                content=json.dumps(document).encode(),
                headers={**JSON, "Content-Type": "application/json"},
            )
        )

    def remove_upstream(self, project: str, kind: str) -> None:
        self.send("DELETE", f"/projects/{segment(project)}/upstreams/{segment(kind)}")

    def head_at(self, moment: str) -> int:
        """The head at a moment (RFC 3339 with its zone)."""
        return int(self.get("/heads", {"time": moment})["head"])

    # --- runtime assets and endpoints

    def runtime_assets(self, wanted: Parameters) -> list[Json]:
        return items(self.get("/runtime-assets", wanted))

    def runtime_asset(self, asset_id: str, at: int | None = None) -> Json:
        return self.get(f"/runtime-assets/{segment(asset_id)}", {"at": at})

    def endpoints(self, wanted: Parameters) -> list[Json]:
        return items(self.get("/endpoints", wanted))

    def endpoint(self, endpoint_id: str, at: int | None = None) -> Json:
        return self.get(f"/endpoints/{segment(endpoint_id)}", {"at": at})

    def drift(self) -> list[Json]:
        return items(self.object_in(self.send("GET", "/runtime-assets/drift", timeout=None)))

    def propose_drift(self, rationale: str) -> Json:
        return self.post("/runtime-assets/drift", {"rationale": rationale}, timeout=None)

    # --- proposals

    def proposals(
        self,
        *,
        state: str | None,
        project: str | None,
        limit: int,
        before: int | None = None,
        orders: str | None = None,
    ) -> Json:
        parameters = {
            "state": state,
            "project": project,
            "limit": limit,
            "before": before,
            "orders": orders,
        }
        return self.get("/proposals", parameters)

    def proposal(self, identifier: str) -> Json:
        return self.get(f"/proposals/{segment(identifier)}")

    def proposal_card(self, identifier: str) -> Json:
        return self.get(f"/proposals/{segment(identifier)}/card")

    def proposal_diff(self, identifier: str) -> Json:
        return self.get(f"/proposals/{segment(identifier)}/diff")

    def decide(self, identifier: str, outcome: str, reason: str) -> Json:
        return self.post(
            f"/proposals/{segment(identifier)}/decisions",
            {"outcome": outcome, "reason": reason},
            timeout=None,
        )

    def revert(self, identifier: str, rationale: str) -> Json:
        return self.post(
            f"/proposals/{segment(identifier)}/revert", {"rationale": rationale}, timeout=None
        )

    def submit(
        self,
        content: bytes,
        media_type: str,
        parameters: Parameters,
        *,
        evidence: Sequence[str] = (),
        base: int | None = None,
        dry_run: bool = False,
    ) -> Json:
        """Post a delta to the gate, or to its dry run."""
        headers = {**JSON, "Content-Type": media_type}
        if base is not None:
            headers["If-Match"] = f'"{base}"'
        response = self.send(
            "POST",
            "/validate" if dry_run else "/proposals",
            parameters={**parameters, "evidence": evidence or None},
            content=content,
            headers=headers,
            timeout=None,
        )
        return self.object_in(response)

    def validate(
        self,
        content: bytes | None,
        media_type: str | None,
        parameters: Parameters,
        tell: Callable[[Json], None],
    ) -> Json:
        """The report on a delta, or (without content) on the whole graph; ``tell`` hears how far
        the server is, where it takes long."""
        headers = {"Accept": f"{_LINES}, {JSON['Accept']}"}
        if media_type is not None:
            headers["Content-Type"] = media_type
        with self.stream(
            "POST",
            "/validate",
            parameters=parameters,
            content=content,
            headers=headers,
            timeout=None,
        ) as answer:
            if answer.headers.get("content-type", "").partition(";")[0] != _LINES:
                return self.object_in(answer.read())
            for text in answer.lines():
                line = self.line(text)
                if "progress" in line:
                    tell(line["progress"])
                elif "report" in line:
                    return dict(line["report"])
                elif "problem" in line:
                    raise refused(dict(line["problem"]))
        raise Unreachable(f"{self.url} ended its answer before the report: see its log")

    # --- proofs

    def log(self, *, limit: int, before: int | None) -> Json:
        return self.get("/proofs/log", {"limit": limit, "before": before})

    def entry(self, index: int) -> Json:
        return self.get(f"/proofs/entries/{index}")

    def explain(self, subject: str, predicate: str, object_: str, graph: str | None) -> Json:
        return self.get("/proofs/explain", {"s": subject, "p": predicate, "o": object_, "g": graph})

    def bundle(self, index: int) -> bytes:
        return self.send("GET", f"/proofs/bundle/{index}", headers=JSON).content

    def audit(self) -> Json:
        return self.post("/proofs/audit", timeout=None)

    def rebuild(self) -> Json:
        return self.post("/proofs/rebuild", timeout=None)

    def rotate_log_key(self, reason: str) -> Json:
        return self.post("/proofs/rotation", {"reason": reason})

    # --- stewards and jobs

    def stewards(self) -> list[Json]:
        return items(self.get("/stewards"))

    def run_steward(self, name: str) -> Json:
        return self.post(f"/stewards/{segment(name)}/run", timeout=None)

    def steward_keys(self, name: str) -> list[Json]:
        return items(self.get(f"/stewards/{segment(name)}/keys"))

    def change_steward_key(self, name: str, public_key: str | None = None) -> Json:
        """Proposes a new key in place of the server's own, or one made elsewhere beside it."""
        document = None if public_key is None else {"public_key": public_key}
        return self.post(f"/stewards/{segment(name)}/keys", document)

    def retire_steward_key(self, name: str, key: str) -> Json:
        return self.post(f"/stewards/{segment(name)}/keys/{segment(key)}/retire")

    def schedules(self) -> list[Json]:
        return items(self.get("/schedules"))

    def set_schedule(self, document: Json) -> Json:
        return self.object_in(self.send("PUT", "/schedules", document=document, headers=JSON))

    def remove_schedule(self, job: str) -> None:
        self.send("DELETE", f"/schedules/{segment(job)}")

    def ask_job(self, document: Json) -> Json:
        return self.post("/jobs", document)

    def job_runs(self, job: str | None, limit: int) -> list[Json]:
        return items(self.get("/jobs/runs", {"job": job, "limit": limit}))

    def job_run(self, identifier: str) -> Json:
        return self.get(f"/jobs/runs/{segment(identifier)}")

    def job_document(self, job: str) -> Json:
        return self.get(f"/jobs/documents/{segment(job)}")

    # --- facts and evidence

    def explain_payload(
        self, payload: bytes, source: str | None, content_type: str | None, project: str | None
    ) -> Json:
        """Which rule chooses the class of each event of a payload, and why."""
        answer = self.send(
            "POST",
            "/classify/explain",
            parameters={"source": source, "project": project},
            content=payload,
            headers={**JSON, "Content-Type": content_type or "application/octet-stream"},
        )
        return self.object_in(answer)

    def reclassify(self, project: str | None, since: int, *, dry_run: bool) -> Json:
        """Classify stored facts again; how many changed."""
        document = {"project": project, "since": since, "dry_run": dry_run}
        return self.post("/facts/reclassify", document, timeout=None)

    def evidence(self, *, project: str | None, before: str | None, limit: int) -> list[Json]:
        parameters = {"project": project, "before": before, "limit": limit}
        return items(self.get("/evidence", parameters))

    def evidence_batch(self, digest: str) -> Json:
        return self.get(f"/evidence/{segment(digest)}")

    def erase_evidence(self, asked: Json) -> Json:
        return self.post("/evidence/erasures", asked, timeout=None)

    def graph(self, iri: str) -> bytes:
        """One named graph as Turtle."""
        headers = {"Accept": "text/turtle"}
        return self.send("GET", "/graphs", parameters={"graph": iri}, headers=headers).content
