"""Proxmox VE as its adapter needs it: what is asked of it, and what its answers mean.

Invariant: an error says that nothing was started; what may have been started and isn't known is a
:class:`Lost`. An answer is bounded and read with suspicion: what isn't of its published form counts
as no answer. A number is found wherever its machine is now, so that one that has moved is missed
where it was and is never taken for another.
https://pve.proxmox.com/pve-docs/api-viewer/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from runtime.errors import MachineError, MachineMissing, MachineStopped, MachineUnreachable

LIST_BYTES: Final = 16 * 1024 * 1024
MOST_GUESTS: Final = 20_000
OUTPUT_BYTES: Final = 72 * 1024 * 1024
"""An answer with a command's output. The agent keeps 16 MiB of each stream; in JSON a byte takes
one to six."""

ASK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Guest:
    """A container (``lxc``) or a virtual machine (``qemu``) of the cluster, where it is now."""

    vmid: int
    node: str
    kind: Literal["lxc", "qemu"]
    name: str = ""
    status: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """What was asked may have been done, and nobody will say any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command of a guest's agent ended, and what it printed; ``cut`` where the agent dropped
    the rest of a stream."""

    exit_code: int | None
    signal: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_cut: bool = False
    stderr_cut: bool = False


class Asking(Protocol):
    """A way of asking a Proxmox VE; ``run`` names what it is asked for. Each method raises a
    :class:`MachineError` when it could not be asked."""

    def guests(self, run: str) -> tuple[Guest, ...]:
        """All machines of the cluster that we may see."""

    def state(self, node: str, vmid: int, run: str) -> str:
        """What a virtual machine is doing now, in QEMU's word: ``running``, ``paused``, ..."""

    def ping(self, node: str, vmid: int, run: str) -> None:
        """Return when the agent of a virtual machine answers."""

    def begin(
        self, node: str, vmid: int, words: Sequence[str], stdin: bytes, run: str
    ) -> int | Lost:
        """Have the agent start ``words``, none of them empty or of other characters than ASCII;
        the number of the process. Raises :class:`CommandRefused` too. After an error nothing was
        started."""

    def ended(self, node: str, vmid: int, pid: int, run: str) -> Ended | Lost | None:
        """How the process ended, said once; ``None`` while it runs."""


# https://git.proxmox.com/?p=qemu-server.git: what says that the agent was given nothing.
_REFUSALS: tuple[tuple[re.Pattern[str], type[MachineError]], ...] = (
    (re.compile(r"Configuration file '[^']{0,200}' does not exist"), MachineMissing),
    (re.compile(r"\bVM [0-9]{1,9} is not running\b"), MachineStopped),
    (re.compile(r"\bNo QEMU guest agent configured\b"), MachineUnreachable),
    (re.compile(r"\bQEMU guest agent is not running\b"), MachineUnreachable),
    (re.compile(r"\bunable to connect to VM [0-9]{1,9} qga socket\b"), MachineUnreachable),
    # An answer of the agent's own, unlike "can't execute command", which is none.
    (re.compile(r"\bAgent error: (?!can't )"), MachineUnreachable),
)
_FINAL = re.compile(r"\bAgent error: |\bVM [0-9]{1,9} is not running\b|' does not exist")


def refusal(words: str, vmid: int) -> MachineError | None:
    """The error for words of Proxmox VE's that are known to say that nothing was started."""
    for pattern, kind in _REFUSALS:
        if pattern.search(words):
            return kind(f"machine {vmid}: {last_line(words)}")
    return None


def is_final(words: str) -> bool:
    """Whether words about a process mean that it is never heard of again."""
    return _FINAL.search(words) is not None


def last_line(words: str) -> str:
    """What a message can hold of somebody's words."""
    lines = [line for line in words.strip().splitlines() if line.strip()]
    said = lines[-1].strip() if lines else "it says nothing"
    return "".join(c if c.isprintable() else "?" for c in said)[:300]


def guests_in(data: Any) -> tuple[Guest, ...]:
    """The machines in an answer of ``/cluster/resources``, by number. What else is in it, templates
    too, is left out. Raises :class:`ValueError`."""
    if not isinstance(data, list) or len(data) > MOST_GUESTS:
        raise ValueError(f"no list of at most {MOST_GUESTS}")
    found = []
    for entry in data:
        if not isinstance(entry, dict) or entry.get("template"):
            continue
        kind, vmid, node = entry.get("type"), number(entry, "vmid"), entry.get("node")
        if kind in ("lxc", "qemu") and vmid is not None and isinstance(node, str):
            tags = re.split(r"[;, ]+", _text(entry, "tags"))
            found.append(
                Guest(
                    vmid,
                    node[:253],
                    kind,
                    _text(entry, "name"),
                    _text(entry, "status"),
                    tuple(sorted({tag for tag in tags if tag})),
                )
            )
    return tuple(sorted(found, key=lambda guest: guest.vmid))


def here(guests: Sequence[Guest], node: str, vmid: int) -> Guest:
    """The machine of this number, on this node. Raises :class:`MachineMissing`, which says where it
    is."""
    for guest in guests:
        if guest.vmid == vmid:
            if guest.node == node:
                return guest
            raise MachineMissing(
                f"machine {vmid} is on node {last_line(guest.node)} now and not on {node}: correct"
                " the asset's locator"
            )
    raise MachineMissing(
        f"the Proxmox VE with node {node} shows no machine {vmid}: there is none, or the token may"
        " not see it (VM.Audit)"
    )


def ended_in(data: Any) -> Ended | None:
    """What an answer of ``exec-status`` says; ``None`` while the process runs. Raises
    :class:`ValueError`."""
    if not isinstance(data, dict) or "exited" not in data:
        raise ValueError("no status of a process")
    if not data["exited"]:
        return None
    return Ended(
        number(data, "exitcode"),
        number(data, "signal"),
        _bytes(data, "out-data"),
        _bytes(data, "err-data"),
        bool(data.get("out-truncated")),
        bool(data.get("err-truncated")),
    )


def number(data: Mapping[str, Any], name: str) -> int | None:
    """A number, which some versions write as text."""
    value = data.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value[:1000] if isinstance(value, str) else ""


def _bytes(data: Mapping[str, Any], name: str) -> bytes:
    """Output, in which each character stands for the byte of its number."""
    value = data.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
