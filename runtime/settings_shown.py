"""All settings as people see them: each with its source, no secret among them.

Invariant: of a secret it is said that there is one, and where it comes from; a reference to one is
shown as it is. What is shown is what a server or a command would be started with here and now, not
what one that runs was started with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from runtime.client_settings import ClientSettings
from runtime.errors import SettingsError
from runtime.principals import Principals
from runtime.secret_reference import is_reference
from runtime.settings import NAMES, Settings, read
from runtime.settings_file import SECRETS
from runtime.settings_sources import DEFAULT, Sources

HIDDEN: Final = "(hidden)"
FIXED: Final = "fixed"
"""The source of what no setting changes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting: its value as JSON has it, and where that comes from."""

    name: str
    value: Any
    source: str
    secret: bool


def shown_settings(sources: Sources) -> tuple[Shown, ...]:
    """Every setting, in the order of the documentation, and then the principals that are no
    settings. Raises :class:`SettingsError` for a value that can't be."""
    server, client = read(Settings, sources), read(ClientSettings, sources)
    return (*_shown(server, client, sources), *_principals(server))


def setting(shown: tuple[Shown, ...], name: str) -> Shown:
    """The one of this name, as file, option or variable spell it. Raises :class:`SettingsError`."""
    plain = name.lower().replace("-", "_").removeprefix("fractalops_")
    for each in shown:
        if each.name == plain:
            return each
    near = get_close_matches(plain, [each.name for each in shown], n=1)
    meant = f": did you mean {near[0]}?" if near else ": fractalops settings show lists them"
    raise SettingsError(f"there is no setting {name!r}{meant}")


def _shown(server: Settings, client: ClientSettings, sources: Sources) -> Iterator[Shown]:
    for name in NAMES:
        value = getattr(server if name in Settings.model_fields else client, name)
        found = sources.find(name)
        yield Shown(
            name,
            plain_value(value),
            DEFAULT if found is None else found.source,
            name in SECRETS,
        )


def _principals(server: Settings) -> Iterator[Shown]:
    principals = Principals(server.operator)
    yield Shown("system_principal", principals.system, FIXED, False)
    yield Shown("audit_principal", principals.audit, FIXED, False)


def plain_value(value: Any) -> Any:
    """A value as JSON has it, without the secret that it may be."""
    if isinstance(value, SecretStr):
        held = value.get_secret_value()
        return held if is_reference(held) else HIDDEN
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
