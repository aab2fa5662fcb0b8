"""Arguments as one line for a POSIX shell, which gives exactly these arguments back.

Invariant: every argument stands between single quotes, where a shell finds nothing special but the
next single quote; none is left bare, so that no shell takes it for an assignment, a reserved word
or a pattern. The line is for what has no arguments, such as SSH (RFC 4254, section 6.5).
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02
"""

from __future__ import annotations

from collections.abc import Sequence


def shell_line(arguments: Sequence[str]) -> str:
    """The line. Raises :class:`ValueError` for a NUL, which no shell can be given."""
    if any("\0" in argument for argument in arguments):
        raise ValueError("an argument has a NUL")
    return " ".join("'" + argument.replace("'", r"'\''") + "'" for argument in arguments)


def armoured(arguments: Sequence[str]) -> list[str]:
    """The words with which a shell runs ``arguments``: few, none empty, and printable ASCII alone,
    for whoever loses what is empty or reads bytes by a locale."""
    escaped = "".join(
        "\\\\" if byte == 0x5C else chr(byte) if 0x20 <= byte < 0x7F else f"\\0{byte:03o}"
        for byte in shell_line(arguments).encode()
    )
    return ["sh", "-c", 'eval "$(printf %b "$1")"', "sh", escaped]
