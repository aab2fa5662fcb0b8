"""The channels of an exec: streams of bytes in both directions over one websocket.

Invariant: what comes in is handed over frame by frame, each of a bounded size, and what goes out
waits for nobody, so that a far side that doesn't read stops nothing here. A connection that is
refused before the server agreed to it has started nothing, unless the message says otherwise.
https://kubernetes.io/docs/reference/generated/kubernetes-api/ (exec)
https://www.rfc-editor.org/rfc/rfc6455
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from urllib.parse import urlencode, urlsplit

import websocket
from websocket import ABNF

from runtime.errors import MachineUnreachable
from runtime.kubernetes_api import ClusterApi, one_line, server_words

STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3
CLOSES = "v5.channel.k8s.io"
"""The protocol in which a channel can be closed, as an input that has ended has to be."""

PROTOCOLS = (CLOSES, "v4.channel.k8s.io")

_CLOSE = 255
_FRAME_BYTES = 4 * 1024 * 1024
_OUT_BYTES = 16 * 1024
_ALIVE_SECONDS = 15.0
_AT_ONCE = 0.001
_SOON = 0.01


class Lost(Exception):
    """The connection ended; what that means is the caller's to say."""


class Channels:
    """One open exec. Only the thread that opened it uses it."""

    def __init__(self, connection: websocket.WebSocket, sender: ssl.SSLSocket) -> None:
        self._connection = connection
        self._sender = sender
        self._connection.frame_buffer = _Frames(self._connection._recv, skip_utf8_validation=True)
        self._out = bytearray()
        self._channel: int | None = None
        self._alive = time.monotonic()

    def __enter__(self) -> Channels:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.shutdown()  # type: ignore[no-untyped-call]

    def put_input(self, data: bytes) -> None:
        """Queue the whole input, and its end."""
        for start in range(0, len(data), _OUT_BYTES):
            self._queue(bytes([STDIN]) + data[start : start + _OUT_BYTES])
        self._queue(bytes([_CLOSE, STDIN]))

    def turn(self, seconds: float) -> tuple[int, bytes] | None:
        """Wait at most this long for something of a channel, and move on what is to go out.

        Raises :class:`Lost`.
        """
        self._keep_alive()
        if self._out:
            # What is there first: an end that was said is not to be lost over a failed sending.
            found = self._received(_AT_ONCE)
            if found is not None:
                return found
            self._send()
        return self._received(_SOON if self._out else seconds)

    def _received(self, seconds: float) -> tuple[int, bytes] | None:
        try:
            self._connection.settimeout(seconds)
            frame: ABNF = self._connection.recv_frame()  # type: ignore[no-untyped-call]
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError) as error:
            raise Lost(one_line(str(error)) or type(error).__name__) from None
        return self._read(frame)

    def _read(self, frame: ABNF) -> tuple[int, bytes] | None:
        data = frame.data if isinstance(frame.data, bytes) else frame.data.encode()
        if frame.opcode == ABNF.OPCODE_CLOSE:
            raise Lost(one_line(data[2:].decode(errors="replace")) or "the server closed it")
        if frame.opcode == ABNF.OPCODE_PING:
            self._queue(data, ABNF.OPCODE_PONG)
        if frame.opcode not in (ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY, ABNF.OPCODE_CONT):
            return None
        if frame.opcode != ABNF.OPCODE_CONT:
            self._channel = data[0] if data else None
            data = data[1:]
        channel = self._channel
        return None if channel is None or channel == _CLOSE else (channel, data)

    def _queue(self, data: bytes, opcode: int = ABNF.OPCODE_BINARY) -> None:
        self._out += ABNF.create_frame(data, opcode).format()

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._alive > _ALIVE_SECONDS:
            # What stands between ends a connection on which nothing is said.
            self._alive = now
            self._queue(b"", ABNF.OPCODE_PING)

    def _send(self) -> None:
        self._connection.settimeout(0)
        while self._out:
            try:
                sent = self._sender.send(bytes(self._out[:_OUT_BYTES]))
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                # Whether the far side is gone, or reads no more, is for it to say.
                self._out.clear()
                return
            del self._out[:sent]


class _Frames(websocket._abnf.frame_buffer):
    """Refuses to wait for a frame that is longer than any server sends."""

    def recv_strict(self, bufsize: int) -> bytes:
        if bufsize > _FRAME_BYTES:
            raise websocket.WebSocketProtocolException(f"a frame of {bufsize} bytes")
        return bytes(super().recv_strict(bufsize))


def opened(
    api: ClusterApi, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
) -> Channels:
    """The channels of an exec that the server has agreed to.

    Raises :class:`MachineUnreachable` when it certainly started nothing, and :class:`Lost` when the
    connection was lost after it had been asked.
    """
    cluster, access = api.cluster, api.access
    parts = urlsplit(access.server)
    try:
        plain = socket.create_connection(
            (parts.hostname or "", parts.port or 443), cluster.connect_seconds
        )
        try:
            secured = access.tls.wrap_socket(plain, server_hostname=access.server_name)
        except BaseException:
            plain.close()
            raise
    except OSError as error:
        raise MachineUnreachable(
            f"cluster {cluster.name}: its server can't be reached: {one_line(str(error))}"
        ) from None
    connection = websocket.WebSocket(skip_utf8_validation=True)
    shown = [f"Authorization: Bearer {access.token}"] if access.token else []
    secured.settimeout(cluster.answer_seconds)
    try:
        connection.connect(  # type: ignore[no-untyped-call]
            f"wss://{parts.netloc}{parts.path}{path}?{urlencode(query)}",
            socket=secured,
            timeout=cluster.answer_seconds,
            subprotocols=list(protocols),
            header=[*shown, "User-Agent: fractalops"],
            suppress_origin=True,
            redirect_limit=0,
        )
    except websocket.WebSocketBadStatusException as error:
        raise _refusal(cluster.name, error.status_code, error.resp_body) from None
    except (websocket.WebSocketException, OSError) as error:
        secured.close()
        raise Lost(one_line(str(error)) or type(error).__name__) from None
    return Channels(connection, secured)


def _refusal(cluster: str, status: int, body: bytes | str | None) -> Exception:
    """A gateway's answer doesn't say what became of what it passed on."""
    said = server_words(body)
    if status in (502, 503, 504) or (status == 500 and "error dialing backend" not in said):
        return Lost(f"the server answered {status}{f': {said}' if said else ''}")
    advice = {
        401: "its credentials are not accepted; renew those of its kubeconfig or account",
        403: "its account may not create pods/exec, or the protocol is refused; give it the right",
    }.get(status, "its server refused the command")
    return MachineUnreachable(
        f"cluster {cluster}: {advice} ({status}{f': {said}' if said else ''})"
    )
