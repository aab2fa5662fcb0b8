"""A real OpenBao for tests, in development mode: what it holds is in its memory alone.

Invariant: it has ports that the system picked, and is gone when the test that asked for it is. It
can be sealed, and held still, so that it is away and comes back with all it had.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

PROGRAM = Path(sys.executable).with_name("bao")
START_SECONDS = 60.0
ROOT = "root-of-this-test"

POLICY = """
path "secret/data/fractalops/*" { capabilities = ["read"] }
path "transit/keys/log" { capabilities = ["read"] }
path "transit/sign/log" { capabilities = ["update"] }
"""
"""What the platform needs, and nothing more."""


class OpenBaoServer:
    """``bao server -dev`` with a policy and an AppRole for the platform."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    @property
    def said(self) -> str:
        """Everything that the server printed."""
        return (self._folder / "openbao.txt").read_text()

    def start(self) -> OpenBaoServer:
        port = _two_ports()
        self.address = f"http://127.0.0.1:{port}"
        with (self._folder / "openbao.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(PROGRAM, "server", "-dev", "-dev-no-store-token"),
                    *(f"-dev-root-token-id={ROOT}", f"-dev-listen-address=127.0.0.1:{port}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < give_up, "OpenBao did not start"
            time.sleep(0.02)
        self.ask("POST", "sys/mounts/transit", type="transit")
        self.ask("POST", "transit/keys/log", type="ed25519")
        self.ask("PUT", "sys/policies/acl/fractalops", policy=POLICY)
        self.ask("POST", "sys/auth/approle", type="approle")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def hold(self) -> None:
        """It answers nothing any more, until :meth:`go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any("State:\tT" not in (t / "status").read_text() for t in threads.iterdir()):
            time.sleep(0.01)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    def unseal(self) -> None:
        key = next(line for line in self.said.splitlines() if line.startswith("Unseal Key:"))
        self.ask("PUT", "sys/unseal", key=key.partition(":")[2].strip())
        while self.ask("GET", "sys/leader").get("leader_address") == "":
            time.sleep(0.02)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> dict[str, Any]:
        """What OpenBao answers to its root."""
        answer = httpx.request(
            method,
            f"{self.address}/v1/{path}",
            headers={"X-Vault-Token": ROOT, **(headers or {})},
            json=body or None,
            timeout=30,
            trust_env=False,
        )
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return dict(answer.json()) if answer.content else {}

    def role(self, name: str, **settings: Any) -> tuple[str, str]:
        """An AppRole with the platform's policy: its role id and a secret id."""
        self.ask("POST", f"auth/approle/role/{name}", token_policies="fractalops", **settings)
        role = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = self.ask("PUT", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return str(role), str(secret)

    def keep(self, path: str, **fields: str) -> None:
        """Puts a secret under ``secret/``."""
        self.ask("POST", f"secret/data/{path}", data=fields)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/v1/sys/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def _two_ports() -> int:
    """A free port whose successor is free too: the development mode takes both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
