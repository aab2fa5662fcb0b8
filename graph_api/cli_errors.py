"""The errors of the command line and of the HTTP client behind it.

::

    CommandError            the command ends with exit code 1 and says this on stderr
    ├── Refused             the server answered with a problem (RFC 9457)
    ├── Unreachable         no server answered, or something that is not one
    └── BackupError         a backup or a restore was not made; nothing was changed
    OutputClosed            who read our output went away; the command ends silently

Wrong usage is not here: it is ``typer.BadParameter``, exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CommandError(Exception):
    """Ends the command with exit code 1; the message says what to do next."""


class Refused(CommandError):
    """The server answered with a problem.

    ``status`` is the HTTP status, ``kind`` the last segment of the problem type, ``body`` the whole
    problem document (empty when the answer was not one).
    """

    def __init__(
        self, status: int, kind: str, title: str, detail: str, body: Mapping[str, Any]
    ) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.body = dict(body)


class Unreachable(CommandError):
    """No server answered, or what answered is not a FractalOps server."""


class BackupError(CommandError):
    """A backup or a restore was not made; what was there before is unchanged."""


class OutputClosed(Exception):
    """Who read our standard output went away (``| head``)."""
