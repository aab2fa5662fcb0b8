"""How each web process of the shop listens: on the socket that it was started with."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from flask import Flask
from werkzeug.serving import make_server


def announce(name: str, text: str, folder: Path = Path()) -> None:
    """Write ``{name}.ready`` into ``folder``: whole or not at all."""
    partial = folder / f"{name}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / f"{name}.ready")


def serve(app: Flask, name: str) -> None:
    """Serve ``app`` on the inherited socket until SIGTERM or SIGINT, then leave by the normal exit.

    The normal exit matters: it is where the SDK sends the spans that it still holds.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)

    def leave(number: int, frame: FrameType | None) -> None:
        # The exit is on its way: a second signal must not cut it short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=int(os.environ["LISTEN_FD"]))
    announce(name, f"http://127.0.0.1:{server.port}")
    server.serve_forever()
