"""Runtime settings: URLs, paths, limits and names, in one place.

Invariant: only composition roots (the server's and the command's) read this; everybody else is
handed values. A setting comes from an option, or the variable ``FRACTALOPS_<NAME>``, or the
settings file, or has its default: in this order, whatever it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Self, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from runtime.client_settings import ClientSettings
from runtime.errors import SettingsError
from runtime.openbao_settings import OpenBaoSettings
from runtime.secret_reference import SecretReference, is_reference
from runtime.serving_settings import ServingSettings
from runtime.settings_file import SECRETS, SettingsFile
from runtime.settings_sources import DEFAULT, OPTION, Sources, variable_of
from runtime.steward_settings import StewardSettings
from runtime.telemetry_settings import TelemetrySettings

_REFERABLE: Final = (
    *("checkpoints", "facts", "glitchtip_token", "reflect_model_arguments", "temporal_api_key"),
)
"""Secrets that may be given as references."""


class Settings(ServingSettings, TelemetrySettings, StewardSettings, OpenBaoSettings):
    """What a server, or a worker, is started with. Sizes are bytes, times seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def references(self) -> dict[str, SecretReference]:
        """The settings that are references to secrets. Raises :class:`SettingsError`."""
        found = {}
        for name in _REFERABLE:
            value: SecretStr | None = getattr(self, name)
            if value is not None and is_reference(value.get_secret_value()):
                try:
                    found[name] = SecretReference.parse(value.get_secret_value())
                except SettingsError as error:
                    raise SettingsError(f"{_named(name)}: {error}") from None
        return found

    def resolved(self, secrets: Mapping[str, str]) -> Self:
        """These settings with secrets in the place of references, by the settings' names."""
        try:
            return type(self)(**{**dict(self), **secrets})
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            # The cause holds the secret.
            raise SettingsError(
                f"{_named(name)}: what the reference means is no value of it:"
                f" {error.errors()[0]['msg']}"
            ) from None

    def dormant_days(self) -> int:
        """After how many days without a fact a thing is dormant; 0 for never.

        Facts that are dropped sooner can't tell what wasn't seen for so long.
        """
        told = not self.facts_days or self.facts_days > self.dormant_after_days
        return self.dormant_after_days if told else 0

    @classmethod
    def read(
        cls,
        given: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        file: SettingsFile | None = None,
    ) -> Self:
        """Settings from what was given explicitly, then the environment (by default this
        process's), then the settings file, then the defaults.

        Raises :class:`runtime.errors.SettingsError` naming the setting that is wrong.
        """
        environment = os.environ if environment is None else environment
        return read(cls, Sources(given, environment, file))


GROUPS: Final[tuple[type[BaseModel], ...]] = (
    *(ServingSettings, TelemetrySettings, StewardSettings, OpenBaoSettings),
    ClientSettings,
)
"""All settings there are, in the order in which they are shown."""
NAMES: Final = tuple(name for group in GROUPS for name in group.model_fields)


_Model = TypeVar("_Model", bound=BaseModel)


def read(model: type[_Model], sources: Sources) -> _Model:
    """The settings of one model. Raises :class:`SettingsError` naming the setting that is wrong."""
    if sources.file is not None:
        sources.file.check_names(NAMES)
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for name, field in model.model_fields.items():
        found = sources.find(name)
        if found is None:
            continue
        places[name] = found.source
        values[name] = found.value
        if isinstance(found.value, bool) and field.annotation is not bool:
            raise SettingsError(f"{_named(name, found.source)}: it is no yes or no")
        if get_origin(field.annotation) is tuple and isinstance(found.value, str):
            values[name] = found.value.split()
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        said = f"{_named(name, places.get(name, ''))}: {first['msg']}"
        if name in SECRETS:
            # The cause holds what was given.
            raise SettingsError(said) from None
        raise SettingsError(f"{said}, not {first.get('input')!r}") from error


def _named(name: str, source: str = "") -> str:
    """A setting as options and environment call it, and the line of a file that sets it."""
    shown = f"{name.replace('_', '-')} ({variable_of(name)})"
    in_file = source not in ("", DEFAULT, OPTION) and not source.startswith("environment:")
    return f"{source}: {shown}" if in_file else shown
