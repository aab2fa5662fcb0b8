"""What stands between a client and a server: it passes bytes on until it is cut."""

from __future__ import annotations

import contextlib
import socket
from threading import Lock, Thread

from tests.live.kube_authority import HOST


class Relay:
    """Connections to a port of its own go on to another port of this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = Lock()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._copying: list[Thread] = []
        self._accepting = Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """Every connection ends as when a cable is pulled at a router."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        self.cut()
        for copying in self._copying:
            copying.join()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
                far = socket.create_connection((HOST, self._to))
            except OSError:
                return
            with self._lock:
                self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                copying = Thread(target=_copy, args=(source, target), daemon=True)
                copying.start()
                self._copying.append(copying)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
