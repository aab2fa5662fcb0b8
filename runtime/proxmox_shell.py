"""Proxmox VE asked with the programs of one of its nodes: ``pvesh`` and ``qm``.

Invariant: a program's end that wasn't seen leaves open what was asked, as does one that failed with
words that nobody knows. Nothing of a command is read by a shell on the node.
https://pve.proxmox.com/pve-docs/qm.1.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from threading import Event
from typing import Any

from runtime.commands import RUN_LENGTH, Command, Kept, Outcome
from runtime.errors import MachineUnreachable
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
from runtime.transports import Transport

_STATE = re.compile(r"^status: (\S{1,100})$", re.MULTILINE)
# `env` on the node says so of a program that isn't there; Proxmox VE so of what it can't read.
_NOT_STARTED = (126, 127)
_NOT_READ = re.compile(r"^(?:400 |ERROR: unknown command|Unknown option)", re.MULTILINE)


class ShellAsking:
    """Asks on the node that ``transport`` leads to; see :class:`runtime.proxmox.Asking`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def guests(self, run: str) -> tuple[Guest, ...]:
        words = ("pvesh", "get", "/cluster/resources", "--type", "vm", "--output-format", "json")
        said = self._answer(words, 0, run)
        try:
            return guests_in(_json(said))
        except ValueError as error:
            raise MachineUnreachable(f"pvesh answers as no Proxmox VE does: {error}") from error

    def state(self, node: str, vmid: int, run: str) -> str:
        found = _STATE.search(self._answer(("qm", "status", str(vmid)), vmid, run).decode())
        if found is None:
            raise MachineUnreachable("qm did not say what the machine is doing")
        return found[1]

    def ping(self, node: str, vmid: int, run: str) -> None:
        self._answer(("qm", "guest", "cmd", str(vmid), "ping"), vmid, run)

    def begin(
        self, node: str, vmid: int, words: Sequence[str], stdin: bytes, run: str
    ) -> int | Lost:
        passed = ("--pass-stdin", "1") if stdin else ()
        asked = ("qm", "guest", "exec", str(vmid), "--synchronous", "0", *passed, "--", *words)
        outcome, kept = self._ask(asked, run, stdin)
        if not outcome.succeeded:
            said = _said(outcome, kept)
            error = refusal(said, vmid)
            if error is not None:
                raise error
            if outcome.exit_code in _NOT_STARTED or _NOT_READ.search(said):
                raise MachineUnreachable(f"qm started nothing: {last_line(said)}")
            return Lost(f"qm did not say what it started: {last_line(said)}")
        try:
            pid = number(_json(kept.stdout), "pid")
        except (ValueError, AttributeError):
            pid = None
        return pid if pid is not None else Lost("qm did not say which process it started")

    def ended(self, node: str, vmid: int, pid: int, run: str) -> Ended | Lost | None:
        asked = ("qm", "guest", "exec-status", str(vmid), str(pid))
        outcome, kept = self._ask(asked, run, most=OUTPUT_BYTES)
        if not outcome.succeeded:
            said = _said(outcome, kept)
            if is_final(said):
                return Lost(f"qm will not say how it ended: {last_line(said)}")
            raise MachineUnreachable(f"qm did not say how it ended: {last_line(said)}")
        try:
            return ended_in(_json(kept.stdout))
        except ValueError as error:
            return Lost(f"qm said something else than how it ended: {error}")

    def _answer(self, words: tuple[str, ...], vmid: int, run: str) -> bytes:
        outcome, kept = self._ask(words, run)
        if outcome.succeeded and not outcome.truncated:
            return kept.stdout
        said = _said(outcome, kept)
        raise refusal(said, vmid) or MachineUnreachable(
            f"{words[0]} could not be asked: {last_line(said)}"
        )

    def _ask(
        self, words: tuple[str, ...], run: str, stdin: bytes = b"", most: int = LIST_BYTES
    ) -> tuple[Outcome, Kept]:
        # Not by the name of the run: to end what that left ends nothing here.
        command = Command(
            f"pve-{run}"[:RUN_LENGTH],
            words,
            stdin=stdin,
            seconds=ASK_SECONDS,
            output_bytes=most,
        )
        kept = Kept()
        outcome = self._transport.start(words, command, {}, sink=kept, cancel=Event())
        return outcome, kept


def _json(said: bytes) -> Any:
    """Raises :class:`ValueError`."""
    try:
        return json.loads(said)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _said(outcome: Outcome, kept: Kept) -> str:
    if outcome.unknown is not None:
        return outcome.unknown
    if outcome.timed_out:
        return f"it took longer than {ASK_SECONDS:g} s"
    return kept.stderr.decode(errors="replace") or f"it ended with {outcome.exit_code}"
