"""The settings file: TOML with one line for each setting, ``port = 8080``.

Invariant: a file that others may change sets nothing, and one that others may read holds no secret.
It is named and never searched for: what a server runs with doesn't depend on where it was started.
Relative paths in it start at its own folder. TOML: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from runtime.errors import SettingsError
from runtime.secret_reference import is_reference

VARIABLE: Final = "FRACTALOPS_SETTINGS"
"""The variable that names the file."""
MAX_BYTES: Final = 64 * 1024
PATHS: Final = frozenset({"data", "machines", "mirror", "openbao_ca", "openbao_file", "state"})
"""Settings that are paths."""
SECRETS: Final = frozenset(
    {
        *("checkpoints", "facts", "glitchtip_token", "ingest_key", "openbao_secret_id"),
        *("reflect_model_arguments", "temporal_api_key", "token"),
    }
)
"""Settings that are never shown."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a settings file says: its values, and the line of each."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def value(self, name: str) -> Any:
        """The value as the file means it."""
        value = self.values[name]
        if name in PATHS and isinstance(value, str):
            return self.path.parent / value
        return value

    def place(self, name: str) -> str:
        """Where the file says it: ``PATH:LINE``."""
        return f"{self.path}:{self.lines[name]}"

    def check_names(self, known: Collection[str]) -> None:
        """Raises :class:`SettingsError` for a name that is no setting."""
        for name in self.values:
            if name in known:
                continue
            near = get_close_matches(name.lower().replace("-", "_"), known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ": docs/settings.md lists them"
            raise SettingsError(f"{self.place(name)}: {name!r} is no setting{meant}")


def named_file(option: Path | None, environment: Mapping[str, str]) -> SettingsFile | None:
    """The settings file that an option or the environment names. Raises :class:`SettingsError`."""
    if option is not None:
        return read_file(option)
    named = environment.get(VARIABLE)
    return read_file(Path(named)) if named else None


def read_file(path: Path) -> SettingsFile:
    """A settings file. Raises :class:`SettingsError` that says what to mend."""
    data, state = _content(path)
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        # It names a line and a kind of fault, and repeats no value.
        raise SettingsError(f"{path}: it is no TOML: {error}") from None
    for name, value in values.items():
        if isinstance(value, dict):
            raise SettingsError(
                f"{path}: [{name}] is a table; settings stand at the top, each with its whole name,"
                " such as openbao_role = '...'"
            )
    found = SettingsFile(path, values, {name: _line(text, name) for name in values})
    _refuse_what_others_may_do(found, state)
    return found


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        # A named pipe would keep whoever opens it waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise SettingsError(f"{path}: the settings file is no file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{path}: the settings file can't be read: {error.strerror or error}"
        ) from error
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{path}: a settings file has at most {MAX_BYTES} bytes")
    return data, state


def _refuse_what_others_may_do(found: SettingsFile, state: os.stat_result) -> None:
    if state.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"{found.path}: the settings file belongs to another user, who could change what this"
            " server does: make it your own, or root's"
        )
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(
            f"{found.path}: others may change the settings file: chmod go-w {found.path}"
        )
    held = [
        name
        for name, value in found.values.items()
        if name in SECRETS and not (isinstance(value, str) and is_reference(value))
    ]
    if held and state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(
            f"{found.place(held[0])}: others may read the settings file, and {held[0]} is a secret:"
            f" chmod 600 {found.path}, or refer to the secret as bao://MOUNT/PATH#FIELD"
        )


def _line(text: str, name: str) -> int:
    """The line that states a setting, counted from 1."""
    stated = re.compile(
        rf"""^[ \t]*(?:"{re.escape(name)}"|'{re.escape(name)}'|{re.escape(name)})[ \t]*="""
    )
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if stated.match(line):
            try:
                # A line within a text of many lines states nothing: what is above it is unfinished.
                tomllib.loads("".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            return number + 1
    return 1
