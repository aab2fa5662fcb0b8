"""Where each setting comes from: options, then the environment, then the file, then the default.

Invariant: the order is this one for every setting and every command, and what a value came from can
be told. Nothing is checked here, and nothing slow is imported: every command looks things up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.settings_file import SettingsFile

PREFIX: Final = "FRACTALOPS_"
DEFAULT: Final = "default"
OPTION: Final = "option"


@dataclass(frozen=True, slots=True)
class Found:
    """A value that was set, and its source: ``option``, ``environment:NAME`` or ``PATH:LINE``."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Sources:
    """All that may set something. ``given`` has the options, ``None`` where one wasn't given; an
    empty variable sets nothing."""

    given: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    file: SettingsFile | None = None

    def find(self, name: str) -> Found | None:
        """What sets a setting; ``None`` where its default holds."""
        if self.given.get(name) is not None:
            return Found(self.given[name], OPTION)
        variable = variable_of(name)
        if self.environment.get(variable):
            return Found(self.environment[variable], f"environment:{variable}")
        if self.file is not None and name in self.file.values:
            return Found(self.file.value(name), self.file.place(name))
        return None

    def text(self, name: str) -> str | None:
        """What sets a setting that is a text; see :meth:`find`."""
        found = self.find(name)
        return None if found is None else str(found.value)


def variable_of(name: str) -> str:
    """The variable that sets a setting: ``FRACTALOPS_PORT`` for ``port``."""
    return PREFIX + name.upper()
