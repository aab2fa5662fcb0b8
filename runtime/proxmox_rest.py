"""Proxmox VE asked over its REST API, with an API token.

Invariant: nothing is sent twice. The token goes into one header of requests to the configured
address, whose certificate comes from the configured authority, and into no message. What a lost
connection or an answer that isn't known leaves open is said to be open.
https://pve.proxmox.com/wiki/Proxmox_VE_API
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

from runtime.errors import (
    CommandRefused,
    HttpError,
    MachineError,
    MachineUnreachable,
    RuntimeFloorError,
)
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient
from runtime.http_messages import Answer, Ask, Limits
from runtime.http_retries import ONCE
from runtime.machines import ProxmoxCluster
from runtime.proxmox import (
    ASK_SECONDS,
    LIST_BYTES,
    OUTPUT_BYTES,
    Ended,
    Guest,
    Lost,
    ended_in,
    guests_in,
    is_final,
    last_line,
    number,
    refusal,
)

REQUEST_BYTES: Final = 64 * 1024
"""The server takes no larger body, and no more standard input."""

_TOKEN = re.compile(r"[^\s@!=:]{1,200}@[^\s@!=:]{1,64}![^\s@!=:]{1,64}=[!-~]{1,200}")
# A proxy to another node of the cluster that got no connection: AnyEvent::HTTP's pseudo-status.
_NODE_AWAY: Final = 595
_NOT_DONE: Final = frozenset({400, 401, 403, 404, 405, 413, 414, 429, _NODE_AWAY})


class _NoAnswer(MachineUnreachable):
    """The request may have been carried out."""


@contextmanager
def rest(cluster: ProxmoxCluster, secret: Callable[[str], str]) -> Iterator[RestAsking]:
    """A way of asking this Proxmox VE. Raises :class:`MachineUnreachable`."""
    try:
        token = secret(cluster.token)
    except RuntimeFloorError as error:
        raise MachineUnreachable(f"the API token cannot be had: {error}") from error
    if not _TOKEN.fullmatch(token):
        raise MachineUnreachable(
            "what the API token refers to is not USER@REALM!TOKENID=SECRET; put that there"
        )
    # Whoever asks again here has pauses and limits of their own.
    with HttpClient(retries=ONCE, circuit=None, authority=cluster.authority) as client:
        yield RestAsking(client, PeerUrl.parse(cluster.url), token)


class RestAsking:
    """Asks over HTTPS; see :class:`runtime.proxmox.Asking`."""

    def __init__(self, client: HttpClient, target: PeerUrl, token: str) -> None:
        self._client = client
        self._target = target
        self._headers = {"Authorization": f"PVEAPIToken={token}", "Accept": "application/json"}

    def guests(self, run: str) -> tuple[Guest, ...]:
        answer = self._ask("GET", "/cluster/resources", {"type": "vm"}, LIST_BYTES)
        try:
            return guests_in(_data(self._checked(answer, 0)))
        except ValueError as error:
            raise _unreadable(answer, error) from error

    def state(self, node: str, vmid: int, run: str) -> str:
        answer = self._ask("GET", f"{_qemu(node, vmid)}/status/current")
        try:
            data = _data(self._checked(answer, vmid))
            return str(data.get("qmpstatus") or data["status"])[:100]
        except (ValueError, KeyError, AttributeError) as error:
            raise _unreadable(answer, error) from error

    def ping(self, node: str, vmid: int, run: str) -> None:
        self._checked(self._ask("POST", f"{_qemu(node, vmid)}/agent/ping"), vmid)

    def begin(
        self, node: str, vmid: int, words: Sequence[str], stdin: bytes, run: str
    ) -> int | Lost:
        # A form, since versions before 8 read no list in JSON.
        fields = [("command", word) for word in words]
        if stdin:
            fields.append(("input-data", stdin.decode("latin-1")))
        content = urlencode(fields).encode()
        if len(content) > REQUEST_BYTES or len(stdin) > REQUEST_BYTES:
            raise CommandRefused(
                f"arguments and standard input are more than the {REQUEST_BYTES} bytes that Proxmox"
                " VE takes in a request; set transport: ssh in the file of machines"
            )
        try:
            answer = self._ask("POST", f"{_qemu(node, vmid)}/agent/exec", content=content)
            self._checked(answer, vmid)
        except _NoAnswer as error:
            return Lost(str(error))
        try:
            pid = number(_data(answer), "pid")
        except (ValueError, AttributeError):
            pid = None
        return pid if pid is not None else Lost("the API did not say which process it started")

    def ended(self, node: str, vmid: int, pid: int, run: str) -> Ended | Lost | None:
        path = f"{_qemu(node, vmid)}/agent/exec-status"
        answer = self._ask("GET", path, {"pid": pid}, OUTPUT_BYTES)
        words = _words(answer)
        # Neither will be answered otherwise the next time.
        if answer.status in (401, 403) or (not answer.is_success and is_final(words)):
            return Lost(f"the API will not say how it ended: {answer.status} {last_line(words)}")
        try:
            return ended_in(_data(self._checked(answer, vmid)))
        except ValueError as error:
            return Lost(f"the API said something else than how it ended: {error}")

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        most: int = LIST_BYTES,
        content: bytes = b"",
    ) -> Answer:
        headers = dict(self._headers)
        if content:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        ask = Ask(
            method,
            self._target,
            f"/api2/json{path}",
            query or {},
            headers,
            content,
            limits=Limits(quiet=ASK_SECONDS, total=ASK_SECONDS, answer=most),
        )
        try:
            return self._client.send(ask)
        except HttpError as error:
            kind = _NoAnswer if error.sent else MachineUnreachable
            said = _of_certificate(error) or str(error)
            raise kind(f"the API of Proxmox VE could not be asked: {said}") from error

    def _checked(self, answer: Answer, vmid: int) -> Answer:
        """An answer that is one. Raises :class:`MachineError`."""
        if answer.is_success:
            return answer
        words = _words(answer)
        error: MachineError | None = refusal(words, vmid)
        if error is not None:
            raise error
        said = f"{answer.status} {last_line(words)}"
        if answer.status == 401:
            raise MachineUnreachable(f"Proxmox VE does not take the API token; renew it: {said}")
        if answer.status == 403:
            raise MachineUnreachable(f"the API token lacks a privilege; grant it: {said}")
        if answer.status in _NOT_DONE:
            raise MachineUnreachable(f"Proxmox VE did not do it: {said}")
        raise _NoAnswer(f"Proxmox VE answered {said}")


def _qemu(node: str, vmid: int) -> str:
    return f"/nodes/{quote(node, safe='')}/qemu/{vmid}"


def _data(answer: Answer) -> Any:
    """Raises :class:`ValueError`."""
    body = answer.json()
    if not isinstance(body, dict) or "data" not in body:
        raise ValueError("no data")
    return body["data"]


def _words(answer: Answer) -> str:
    """What it says went wrong: later versions in the body too, all in the status line."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return f"{message if isinstance(message, str) else ''}\n{answer.reason}"


def _of_certificate(error: BaseException | None) -> str:
    """What is wrong with the certificate, if that is what an error comes from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({error.verify_message}); see ca of the file"
        error = error.__cause__ or error.__context__
    return ""


def _unreadable(answer: Answer, error: Exception) -> MachineUnreachable:
    return MachineUnreachable(f"{answer.origin} answers as no Proxmox VE does: {error}")
