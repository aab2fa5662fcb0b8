"""Runtime settings: URLs, paths, limits and names, in one place.

Invariant: only composition roots (the server's and the command's) read this; everybody else is
handed values. Each setting may come from the environment as ``FRACTALOPS_<NAME>``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pyoxigraph import NamedNode

from ontology.ids import DEFAULT_BASE, Ids
from runtime.errors import SettingsError
from runtime.secret_reference import SecretReference, is_reference

ENVIRONMENT_PREFIX = "FRACTALOPS_"

MEBIBYTE = 1024 * 1024

GRPC_PORT: Final = 4317
"""Where clients expect OTLP/gRPC: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-default-port"""
CAPPED = (
    *("services", "releases", "operations", "pages", "event_types", "features", "error_issues"),
    "others",
)
"""The kinds of new things that have a cap for an hour."""
_CAP = re.compile(rf"(?:{'|'.join(CAPPED)})=[0-9]{{1,9}}")
_REFERABLE = (
    *("checkpoints", "facts", "glitchtip_token", "reflect_model_arguments", "temporal_api_key"),
)
"""Secrets that may be given as references."""
_SECRET = frozenset({*_REFERABLE, "openbao_secret_id"})
"""What is never shown."""
_QUOTA = re.compile(r"[a-z0-9][a-z0-9-]{0,62}=[0-9]{1,15}/[0-9]{1,15}")


class Settings(BaseModel):
    """What a server is started with. Sizes are bytes, times seconds.

    ``evidence`` says whether payloads stay once they are facts, ``evidence_days`` how long (0: for
    as long as nobody erases them). ``outbox_days`` is how long a request waits for the product
    behind its project (0: for as long as it takes).

    ``base``, ``organisation``, ``operator`` and ``time_lock_seconds`` count at genesis alone: later
    starts take them from the journal and the graph. Without ``grpc_port``, OTLP/gRPC is served on
    :data:`GRPC_PORT` where that is free. ``facts`` is the DSN of a ClickHouse server, without one
    it is the data folder's engine; ``facts_by_month`` counts when its tables are made.
    ``project_items`` and ``project_bytes`` are what each project may send in a second, 0 for no
    limit; ``project_quotas`` says otherwise for some of them, each as ``SLUG=ITEMS/BYTES``.
    ``hourly_caps``, each as ``KIND=NUMBER``, bound how many new things of a kind a project gets in
    an hour; what is above them waits in a proposal that is made anew every ``hold_seconds``. What
    no fact showed for ``dormant_after_days`` is marked as dormant, nothing where they are 0.
    ``checkpoints`` is the DSN of a PostgreSQL database for the checkpoints of the stewards' runs.
    Rules are proposed for what stayed unknown every ``reflect_seconds``, never where they are 0;
    the chat model ``reflect_model``, a class of LangChain's as ``package.module:Class``, may word
    them. ``temporal`` is the address of a Temporal server, as ``host:port``: with it, jobs are
    executed by ``fractalops worker`` and not in here. ``temporal_queue`` is the task queue that the
    workers of this platform share, ``temporal_api_key`` what they show.

    ``openbao`` is the address of an OpenBao, whose secrets other settings may refer to as
    ``bao://MOUNT/PATH#FIELD``. ``openbao_role`` logs in by ``openbao_auth``: with the secret id in
    ``openbao_secret_id`` or in ``openbao_file`` (``openbao_wrapped``: a wrapping token in its
    place), or with the token in ``openbao_file``. ``openbao_log_key`` is the key of the transit
    engine ``openbao_transit`` that signs the log; without one a file does, which the profile
    ``production`` refuses.

    ``machines`` is the file that says by which ways hosts are reached (docs/machines.md); without
    one, the containers of this machine alone are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | Literal["off"] | None = None
    base: str = DEFAULT_BASE
    organisation: str = Field(default="organisation", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    operator: str = Field(default="operator", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    time_lock_seconds: int = Field(default=24 * 3600, ge=0)
    mirror: Path | None = None
    witness_keys: tuple[str, ...] = ()

    query_workers: int = Field(default=max(1, min(8, os.cpu_count() or 1)), ge=1, le=64)
    query_seconds: float = Field(default=30.0, gt=0)
    query_memory: int = Field(default=1024 * MEBIBYTE, ge=64 * MEBIBYTE)
    query_result_bytes: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE)
    snapshot_bytes: int = Field(default=4096 * MEBIBYTE, ge=MEBIBYTE)

    proposal_bytes: int = Field(default=32 * MEBIBYTE, ge=1024)
    evidence: Literal["keep", "discard"] = "keep"
    evidence_days: int = Field(default=0, ge=0, le=36_500)
    outbox_days: int = Field(default=7, ge=0, le=36_500)
    otlp_bytes: int = Field(default=20 * MEBIBYTE, ge=1024)
    project_items: int = Field(default=100_000, ge=0)
    project_bytes: int = Field(default=100 * MEBIBYTE, ge=0)
    project_quotas: tuple[str, ...] = ()
    hourly_caps: tuple[str, ...] = ()
    hold_seconds: float = Field(default=600.0, gt=0)
    dormant_after_days: int = Field(default=30, ge=0, le=36_500)
    reflect_seconds: float = Field(default=3600.0, ge=0)
    reflect_model: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    reflect_model_arguments: SecretStr | None = None
    steward_seconds: float = Field(default=5.0, gt=0)
    checkpoints: SecretStr | None = None
    temporal: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,5}$")
    temporal_namespace: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    temporal_queue: str = Field(default="fractalops", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    temporal_api_key: SecretStr | None = None
    temporal_tls: bool = False
    glitchtip_url: str | None = Field(default=None, pattern=r"^https?://")
    glitchtip_organisation: str | None = None
    glitchtip_team: str | None = None
    glitchtip_token: SecretStr | None = None
    profile: Literal["development", "production"] = "development"
    openbao: str | None = Field(default=None, pattern=r"^https?://[^/\s@?#]+/?$")
    openbao_namespace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,255}$")
    openbao_ca: Path | None = None
    openbao_auth: Literal["approle", "kubernetes", "jwt"] = "approle"
    openbao_auth_mount: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,128}$")
    openbao_role: str | None = None
    openbao_secret_id: SecretStr | None = None
    openbao_file: Path | None = None
    openbao_wrapped: bool = False
    openbao_seconds: float = Field(default=5.0, gt=0, le=60)
    openbao_transit: str = Field(default="transit", pattern=r"^[A-Za-z0-9._/-]{1,128}$")
    openbao_log_key: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    machines: Path | None = None
    facts: SecretStr | None = None
    facts_days: int = Field(default=0, ge=0, le=36_500)
    facts_by_month: bool = False
    facts_seconds: float = Field(default=20.0, gt=0)

    @field_validator("base")
    @classmethod
    def _base_makes_iris(cls, base: str) -> str:
        # Every IRI of the graph begins with it, and it is never changed.
        NamedNode(Ids(base).graph("ontology"))
        return base

    @field_validator("reflect_model_arguments")
    @classmethod
    def _arguments_are_an_object(cls, arguments: SecretStr | None) -> SecretStr | None:
        if arguments is not None and not is_reference(arguments.get_secret_value()):
            try:
                read = json.loads(arguments.get_secret_value())
            except ValueError:
                read = None
            if not isinstance(read, dict):
                raise ValueError("the model's arguments are a JSON object")
        return arguments

    @field_validator("project_quotas")
    @classmethod
    def _quotas_are_numbers(cls, quotas: tuple[str, ...]) -> tuple[str, ...]:
        for quota in quotas:
            if not _QUOTA.fullmatch(quota):
                raise ValueError(f"{quota!r} is not SLUG=ITEMS/BYTES, such as shop=50000/0")
        return quotas

    @field_validator("hourly_caps")
    @classmethod
    def _caps_are_numbers(cls, caps: tuple[str, ...]) -> tuple[str, ...]:
        for cap in caps:
            if not _CAP.fullmatch(cap):
                raise ValueError(f"{cap!r} is not KIND=NUMBER, with a KIND of {', '.join(CAPPED)}")
        return caps

    def model_arguments(self) -> dict[str, Any]:
        """What the chat model is made with."""
        given = self.reflect_model_arguments
        return dict(json.loads(given.get_secret_value())) if given else {}

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

    def caps(self) -> dict[str, int]:
        """The caps for an hour that differ from the usual ones."""
        return {
            kind: int(number) for kind, _, number in (c.partition("=") for c in self.hourly_caps)
        }

    def quota_of(self) -> dict[str, tuple[int, int]]:
        """Items and bytes in a second for the projects that have limits of their own."""
        found = {}
        for quota in self.project_quotas:
            slug, _, numbers = quota.partition("=")
            items, _, size = numbers.partition("/")
            found[slug] = (int(items), int(size))
        return found

    def dormant_days(self) -> int:
        """After how many days without a fact a thing is dormant; 0 for never.

        Facts that are dropped sooner can't tell what wasn't seen for so long.
        """
        told = not self.facts_days or self.facts_days > self.dormant_after_days
        return self.dormant_after_days if told else 0

    @classmethod
    def read(cls, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Self:
        """Settings from what was given explicitly, then the environment, then the defaults.

        Raises :class:`runtime.errors.SettingsError` naming the setting that is wrong.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            from_environment = environment.get(ENVIRONMENT_PREFIX + name.upper())
            if given.get(name) is not None:
                values[name] = given[name]
            elif from_environment:
                several = name in ("witness_keys", "project_quotas", "hourly_caps")
                values[name] = from_environment.split() if several else from_environment
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            said = f"{_named(name)}: {first['msg']}"
            if name in _SECRET:
                # The cause holds what was given.
                raise SettingsError(said) from None
            raise SettingsError(f"{said}, not {first.get('input')!r}") from error


def _named(name: str) -> str:
    """A setting as options and environment call it."""
    return f"{name.replace('_', '-')} ({ENVIRONMENT_PREFIX}{name.upper()})"
