"""A client of the HTTP API, as the command line uses it.

Invariant: every answer that is not a success becomes a :class:`Refused` that carries the server's
problem document; redirects are never followed, so a token goes nowhere but to the server named.
Problems: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from graph_api.cli_errors import Refused, Unreachable

Json = dict[str, Any]
Parameters = Mapping[str, str | int | float | Sequence[str] | None]

DEFAULT_TIMEOUT = 60.0
"""Seconds a usual answer may take; long work waits without a limit."""
CONNECT_TIMEOUT = 5.0

_TRANSPORT_TROUBLE = (httpx.TransportError, httpx.InvalidURL)


class Client:
    """Speaks to one server as one caller; a context manager.

    ``url`` has no trailing slash, ``found`` says where it was found (for messages), ``proxies``
    says whether the environment's proxies are used, ``transport`` replaces the network.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        found: str = "",
        proxies: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._found = found
        self._has_token = token is not None
        headers = {"User-Agent": "fractalops-cli"}
        if token is not None:
            # A header can carry no other characters, and httpx's own message would quote it.
            if not (token.isascii() and token.isprintable()):
                raise Unreachable("FRACTALOPS_TOKEN holds characters that no token has")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(DEFAULT_TIMEOUT, connect=CONNECT_TIMEOUT),
            follow_redirects=False,
            trust_env=proxies,
            transport=transport,
            # Plain HTTP has no certificates to verify, and the trusted ones take longer to read
            # than most answers take to come.
            verify=not url.startswith("http://"),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    # --- requests

    def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        content: bytes | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> httpx.Response:
        """Send one request and give its successful answer, read to the end.

        ``timeout`` is in seconds, ``None`` waits for ever. Raises :class:`Refused` and
        :class:`Unreachable`.
        """
        request = self._request(method, path, parameters, content, document, headers, timeout)
        try:
            response = self._http.send(request)
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error
        return self._checked(response)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[httpx.Response]:
        """As :meth:`send`, with the body still to be read; a cut body is :class:`Unreachable`."""
        request = self._request(method, path, parameters, content, None, headers, timeout)
        try:
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                yield self._checked(response)
            finally:
                response.close()
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error

    def get(self, path: str, parameters: Parameters | None = None) -> Json:
        """The JSON object at a path."""
        return self._object(self.send("GET", path, parameters=parameters, headers=_JSON))

    def post(
        self,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        parameters: Parameters | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Json:
        """Post a JSON object (or nothing) and give the JSON object that comes back."""
        return self._object(
            self.send(
                "POST",
                path,
                parameters=parameters,
                document=document,
                headers=_JSON,
                timeout=timeout,
            )
        )

    # --- the resources

    def status(self) -> Json:
        return self.get("/status")

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
        return self._object(
            self.send(
                "PUT",
                path,
                content=json.dumps(document).encode(),
                headers={**_JSON, "Content-Type": "application/json"},
            )
        )

    def remove_upstream(self, project: str, kind: str) -> None:
        self.send("DELETE", f"/projects/{segment(project)}/upstreams/{segment(kind)}")

    def proposals(
        self, *, state: str | None, project: str | None, limit: int, before: int | None = None
    ) -> Json:
        parameters = {"state": state, "project": project, "limit": limit, "before": before}
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
        headers = {**_JSON, "Content-Type": media_type}
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
        return self._object(response)

    def validate(
        self,
        content: bytes | None,
        media_type: str | None,
        parameters: Parameters,
        tell: Callable[[Json], None],
    ) -> Json:
        """The report on a delta, or (without content) on the whole graph; ``tell`` hears how far
        the server is, where it takes long."""
        headers = {"Accept": f"{_LINES}, {_JSON['Accept']}"}
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
                answer.read()
                return self._object(answer)
            for text in answer.iter_lines():
                line = self._line(text)
                if "progress" in line:
                    tell(line["progress"])
                elif "report" in line:
                    return dict(line["report"])
                elif "problem" in line:
                    raise refused(dict(line["problem"]))
        raise Unreachable(f"{self.url} ended its answer before the report: see its log")

    def log(self, *, limit: int, before: int | None) -> Json:
        return self.get("/proofs/log", {"limit": limit, "before": before})

    def entry(self, index: int) -> Json:
        return self.get(f"/proofs/entries/{index}")

    def explain(self, subject: str, predicate: str, object_: str, graph: str | None) -> Json:
        return self.get("/proofs/explain", {"s": subject, "p": predicate, "o": object_, "g": graph})

    def bundle(self, index: int) -> bytes:
        return self.send("GET", f"/proofs/bundle/{index}", headers=_JSON).content

    def audit(self) -> Json:
        return self.post("/proofs/audit", timeout=None)

    def rebuild(self) -> Json:
        return self.post("/proofs/rebuild", timeout=None)

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

    def explain_payload(
        self, payload: bytes, source: str | None, content_type: str | None, project: str | None
    ) -> Json:
        """Which rule chooses the class of each event of a payload, and why."""
        answer = self.send(
            "POST",
            "/classify/explain",
            parameters={"source": source, "project": project},
            content=payload,
            headers={**_JSON, "Content-Type": content_type or "application/octet-stream"},
        )
        return self._object(answer)

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

    # --- inside

    def _request(
        self,
        method: str,
        path: str,
        parameters: Parameters | None,
        content: bytes | None,
        document: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx.Request:
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            return self._http.build_request(
                method,
                path,
                params=given or None,
                content=content,
                json=document,
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            )
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        raise problem(response, has_token=self._has_token)

    def _line(self, text: str) -> Json:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(f"{self.url} answered with a line that is not FractalOps's JSON")
        return value

    def _object(self, response: httpx.Response) -> Json:
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(
                f"{self.url} answered with something that is not FractalOps's JSON. "
                f"Check the address ({self._found or 'as given'})."
            )
        return value

    def _unreachable(self, error: Exception) -> Unreachable:
        where = f"{self.url} ({self._found})" if self._found else self.url
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Unreachable(
                f"no server answers at {where}. Start one with: fractalops up --data DIR"
            )
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{where} did not answer in time; see its log, then try again")
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return Unreachable(f"{where} is not a URL of a server: {error}")
        return Unreachable(f"the connection to {where} broke: {str(error) or type(error).__name__}")


def items(page: Json) -> list[Json]:
    """The items of a listing."""
    found = page.get("items")
    if not isinstance(found, list):
        raise Unreachable("the server's listing has no items: it is of another version")
    return found


def segment(text: str) -> str:
    """A path segment that can't reach another path."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def problem(response: httpx.Response, *, has_token: bool = True) -> Refused:
    """The error for an answer that is not a success."""
    body: Json = {}
    try:
        found = json.loads(response.content)
        if isinstance(found, dict):
            body = found
    except ValueError:
        body = {}
    title = str(body.get("title") or response.reason_phrase or f"HTTP {response.status_code}")
    detail = body.get("detail")
    if detail is None and not body:
        detail = response.text[:300].strip()
    if isinstance(detail, list):
        detail = "; ".join(str(part.get("msg", part)) for part in detail if isinstance(part, dict))
    said = str(detail or "")
    if response.status_code == 401:
        hint = (
            "FRACTALOPS_TOKEN (or the folder's operator.token) is not one this server knows."
            if has_token
            else "Set FRACTALOPS_TOKEN, or name the server's folder with --data."
        )
        said = f"{said} {hint}".strip()
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    return Refused(response.status_code, kind, title, said, body)


def refused(body: Json) -> Refused:
    """The error of a problem document that came in the middle of an answer."""
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    status, title = int(body.get("status") or 500), str(body.get("title") or "A problem")
    return Refused(status, kind, title, str(body.get("detail") or ""), body)


_LINES = "application/x-ndjson"
_JSON = {"Accept": "application/json, application/problem+json"}
