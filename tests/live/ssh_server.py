"""A real OpenSSH server on loopback, with keys of its own.

Invariant: it listens on loopback alone, lets in one key that was made for it, and ends with the
test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.ssh_host import SshHost
from tests.live.conftest import wait_until
from tests.live.run_processes import left_of

PROGRAM = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def no_ssh() -> str | None:
    """Why there can be no server here, or nobody to ask it."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if PROGRAM is None:
        missing.append("sshd")
    if missing:
        return f"{' and '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "only root lets itself in as root"
    return None


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@dataclass(frozen=True)
class Sshd:
    """A server with keys of its own."""

    host: SshHost
    process: subprocess.Popen[bytes]

    def sever(self, run: str) -> None:
        """End the server's process of the connection that a run came over."""
        ours = [pid for pid in left_of(run) if parent_of(pid) not in left_of(run)]
        assert ours
        above = parent_of(ours[0])
        while "sshd" not in Path(f"/proc/{above}/comm").read_text():
            above = parent_of(above)
        assert above != self.process.pid
        os.kill(above, signal.SIGKILL)


def key(path: Path) -> str:
    """Make a pair of keys; the public one."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True
    )
    return path.with_name(f"{path.name}.pub").read_text()


@contextmanager
def ssh_server(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Sshd]:
    """A running server, whose commands have this environment too."""
    assert PROGRAM is not None
    # Where Debian's sshd locks itself up while it talks to strangers.
    empty = Path("/run/sshd")
    made = not empty.exists()
    empty.mkdir(mode=0o755, exist_ok=True)
    theirs = key(folder / "host")
    (folder / "authorized").write_text(key(folder / "ours"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {theirs}")
    given = " ".join(f'"{name}={value}"' for name, value in (environment or {}).items())
    (folder / "config").write_text(
        f"Port {port}\n"
        "ListenAddress 127.0.0.1\n"
        f'HostKey "{folder}/host"\n'
        f'AuthorizedKeysFile "{folder}/authorized"\n'
        "PidFile none\nUsePAM no\nStrictModes no\nUseDNS no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f'Banner "{folder}/banner"\n' + (f"SetEnv {given}\n" if given else "")
    )
    (folder / "banner").write_text("All that you do here is recorded.\n")
    log = folder / "log"
    process = subprocess.Popen([PROGRAM, "-D", "-f", str(folder / "config"), "-E", str(log)])
    try:
        wait_until(lambda: log.exists() and "Server listening" in log.read_text(), "an sshd")
        yield Sshd(SshHost("127.0.0.1", folder / "ours", folder / "known", port=port), process)
    finally:
        process.terminate()
        process.wait(30)
        if made:
            empty.rmdir()
