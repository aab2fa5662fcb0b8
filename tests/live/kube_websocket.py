"""The server's end of an exec's websocket, as the API of Kubernetes describes it.

Both versions of its protocol: a binary message begins with the number of its channel; in version 5
255 closes the channel that the next byte names. https://www.rfc-editor.org/rfc/rfc6455
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from io import BufferedIOBase
from threading import Lock, Thread
from typing import IO, Any

STDOUT, STDERR, STATUS, CLOSE = 1, 2, 3, 255
VERSIONS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSED, _PING, _PONG = 2, 8, 9, 10


def accepted(headers: Mapping[str, str]) -> tuple[str, bytes] | None:
    """The version that is agreed on, and the answer that says so."""
    asked = [name.strip() for name in (headers.get("Sec-WebSocket-Protocol") or "").split(",")]
    version = next((version for version in VERSIONS if version in asked), None)
    if version is None:
        return None
    digest = hashlib.sha1((headers["Sec-WebSocket-Key"] + _KEY).encode()).digest()
    return version, (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Protocol: {version}\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n"
    ).encode()


class Socket:
    """One open websocket."""

    def __init__(self, connection: socket.socket, reader: BufferedIOBase) -> None:
        self._connection = connection
        self._reader = reader
        self._lock = Lock()

    def raw(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def send(self, data: bytes, opcode: int = _BINARY, *, final: bool = True) -> None:
        size = len(data)
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = b"\x7e" + struct.pack("!H", size)
        else:
            length = b"\x7f" + struct.pack("!Q", size)
        self.raw(bytes([(0x80 if final else 0) | opcode]) + length + data)

    def status(self, **said: Any) -> None:
        self.send(bytes([STATUS]) + json.dumps({"metadata": {}, **said}).encode())

    def close(self) -> None:
        self.send(struct.pack("!H", 1000), _CLOSED)

    def receive(self) -> bytes | None:
        """The next message; ``None`` at the end."""
        while True:
            head = self._reader.read(2)
            if len(head) < 2:
                return None
            opcode, size = head[0] & 15, head[1] & 127
            if size == 126:
                (size,) = struct.unpack("!H", self._reader.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._reader.read(8))
            mask = self._reader.read(4)
            masked = self._reader.read(size)
            data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
            if opcode == _PING:
                self.send(data, _PONG)
            elif opcode == _CLOSED:
                return None
            elif opcode != _PONG:
                return data


def run(stream: Socket, words: Sequence[str], *, stdin: bool, bare: bool) -> None:
    """Run a command on this machine and say how it ended, as a container runtime does."""
    for channel in (STDOUT, STDERR, STATUS):
        stream.send(bytes([channel]))
    if shutil.which(words[0]) is None or (bare and words[0] in ("sh", "env")):
        said = (
            "Internal error occurred: error executing command in container: failed to exec in"
            ' container: failed to start exec "4711": OCI runtime exec failed: exec failed: unable'
            f' to start container process: exec: "{words[0]}": executable file not found in $PATH:'
            " unknown"
        )
        stream.status(status="Failure", reason="InternalError", message=said, code=500)
        stream.close()
        return
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "container": "played"},
        start_new_session=True,
    )
    readers = [
        Thread(target=_copy, args=(stream, channel, pipe), daemon=True)
        for channel, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr))
    ]
    for reader in readers:
        reader.start()
    feeder = Thread(target=_feed, args=(stream, process.stdin), daemon=True)
    feeder.start()
    for reader in readers:
        reader.join()
    code = process.wait()
    # When nobody listens any more the command ended all the same.
    with contextlib.suppress(OSError):
        _say(stream, code if code >= 0 else 128 - code)
    feeder.join()


def _say(stream: Socket, code: int) -> None:
    if code == 0:
        stream.status(status="Success")
    else:
        stream.status(
            status="Failure",
            reason="NonZeroExitCode",
            message=f"command terminated with non-zero exit code: exit status {code}",
            details={"causes": [{"reason": "ExitCode", "message": str(code)}]},
        )
    stream.close()


def _copy(stream: Socket, channel: int, pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    with pipe:
        while chunk := os.read(pipe.fileno(), 32 * 1024):
            try:
                stream.send(bytes([channel]) + chunk)
            except OSError:
                return


def _feed(stream: Socket, pipe: IO[bytes] | None) -> None:
    """Pass the input on, and read to the end whatever comes after it."""
    with contextlib.suppress(OSError):
        while (message := stream.receive()) is not None:
            if message == bytes([CLOSE, 0]):
                _close(pipe)
            elif pipe is not None and not pipe.closed:
                try:
                    os.write(pipe.fileno(), message[1:])
                except BrokenPipeError:
                    _close(pipe)
    _close(pipe)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()


def strange(stream: Socket, how: str) -> None:
    """What no server should send."""
    if how == "huge":
        stream.raw(b"\x82\x7f" + struct.pack("!Q", 1 << 40))
    elif how == "garbled":
        stream.send(bytes([STATUS]) + b"{")
        stream.close()
    elif how == "silent":
        stream.send(bytes([STDOUT]) + b"said\n")
        stream.close()
    elif how == "other":
        stream.status(status="Failure", reason="InternalError", message="\x1b[2Jthe node is gone")
        stream.close()
    elif how == "split":
        stream.send(bytes([STDOUT]) + b"in ", final=False)
        stream.send(b"", _PING)
        stream.send(b"two\n", 0)
        stream.send(b"")
        stream.send(bytes([9]) + b"of no channel")
        stream.send(bytes([CLOSE, STDOUT]))
        _say(stream, 0)
