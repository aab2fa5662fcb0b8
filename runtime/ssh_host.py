"""A host that is reached over SSH, and what OpenSSH's client is told to reach it.

Invariant: the client takes nothing from anybody's configuration, agent or shared connection. It
trusts the pinned keys of the host and no others, offers one key, asks nobody anything, and forwards
nothing.
https://man.openbsd.org/ssh_config
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import AdapterError

_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_CONNECT_SECONDS = 10
_ALIVE_SECONDS = 5
_ALIVE_MISSED = 3

_AUTHENTICATED = re.compile(r"ssh_userauth2\(\).*Authenticated to ")
_REFUSED = re.compile(
    r"^(?:\S+@\S+: Permission denied \(|Host key verification failed\.|command-line: "
    r"|ssh: connect to host |ssh: Could not resolve hostname |kex_exchange_identification: "
    r"|Connection timed out during banner exchange|Unable to negotiate with )",
    re.MULTILINE,
)
_EXIT_STATUS = re.compile(r"client_input_channel_req\(\).* rtype exit-status ")


@dataclass(frozen=True, slots=True)
class SshHost:
    """A host and how to get in: our key in the file ``identity``, the host's in ``known_hosts``.

    Raises :class:`AdapterError` for what the client could not be told.
    """

    address: str
    identity: Path
    known_hosts: Path
    user: str = "root"
    port: int = 22

    def __post_init__(self) -> None:
        # Neither may begin with a dash or hold a space: they stand among the client's arguments.
        if not _ADDRESS.fullmatch(self.address) or not _USER.fullmatch(self.user):
            raise AdapterError(f"{self.user!r} at {self.address!r} is not a user of a host")
        if not 0 < self.port < 65536:
            raise AdapterError(f"{self.port} is not a port")
        _quoted(self.identity)
        _quoted(self.known_hosts)

    def client(self, journal: Path) -> list[str]:
        """The client's arguments up to the line for the far shell; it writes to ``journal``."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(self.known_hosts),
            "GlobalKnownHostsFile": os.devnull,
            "UpdateHostKeys": "no",
            "VerifyHostKeyDNS": "no",
            "IdentityFile": _quoted(self.identity),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "PermitLocalCommand": "no",
            "ControlPath": "none",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": str(_ALIVE_SECONDS),
            "ServerAliveCountMax": str(_ALIVE_MISSED),
            # A banner of the host must not stand in the command's errors.
            "LogLevel": "ERROR",
            # The lines that `Journal` reads. The command's own text is in none of them.
            "LogVerbose": (
                "sshconnect2.c:ssh_userauth2():*,clientloop.c:client_input_channel_req():*"
            ),
        }
        return [
            *("ssh", "-F", os.devnull, "-T", "-E", str(journal)),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
            *("-p", str(self.port), "-l", self.user, "--", self.address),
        ]


@dataclass(frozen=True, slots=True)
class Journal:
    """What the client said of one connection."""

    text: str

    @property
    def refused(self) -> bool:
        """The client's own words say that we were not let in, and none that we were. Before that
        nothing is sent that the host could run. Words that nobody knows are no proof of it."""
        return _REFUSED.search(self.text) is not None and not _AUTHENTICATED.search(self.text)

    @property
    def exit_status(self) -> bool:
        """The host said which status the command ended with."""
        return _EXIT_STATUS.search(self.text) is not None

    @property
    def last_words(self) -> str | None:
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else None


def _quoted(path: Path) -> str:
    """A path as a value in ssh's configuration, where a space ends a word and % begins a token."""
    text = str(path.absolute())
    if any(special in text for special in ('"', "\\", "\n", "${")):
        raise AdapterError(f"ssh cannot be told of the file {text!r}")
    return '"' + text.replace("%", "%%") + '"'
