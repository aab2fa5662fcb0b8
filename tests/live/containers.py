"""Real LXC containers of BusyBox, made and removed by a test.

Invariant: a container has a network of its own in which there is nothing. ``none`` would share the
machine's, and the container's init would take the machine's address away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NETWORK = "lxc.net.0.type = empty"
PROGRAMS = ("lxc-create", "lxc-start", "lxc-stop", "lxc-destroy", "lxc-attach", "busybox")


def why_not() -> str | None:
    """Why there can be no containers here."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if os.geteuid() != 0:
        return "only root starts containers here"
    return None


@dataclass(frozen=True)
class Container:
    """One container in a folder of the test."""

    name: str
    path: Path

    def lxc(self, verb: str, *arguments: str) -> None:
        """Run one of LXC's programs on it."""
        done = subprocess.run(
            [f"lxc-{verb}", "-P", str(self.path), "-n", self.name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"lxc-{verb} {self.name}: {done.stdout}"


@contextmanager
def container(path: Path, name: str) -> Iterator[Container]:
    """A running container."""
    made = Container(name, path)
    base = path / f"{name}.base"
    base.write_text(f"{NETWORK}\n")
    made.lxc("create", "-f", str(base), "-t", "busybox")
    configured = (path / name / "config").read_text()
    networks = [line for line in configured.splitlines() if line.startswith("lxc.net")]
    assert networks == [NETWORK]
    try:
        made.lxc("start")
        yield made
    finally:
        made.lxc("destroy", "-f")
