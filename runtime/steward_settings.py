"""Settings of the stewards: how often they look, what they may bring in, and who runs their jobs.

Invariant: nothing here lets a steward past the gate; it only does less, later or elsewhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from runtime.secret_reference import is_reference

CAPPED = (
    *("services", "releases", "operations", "pages", "event_types", "features", "error_issues"),
    "others",
)
"""The kinds of new things that have a cap for an hour."""
_CAP = re.compile(rf"(?:{'|'.join(CAPPED)})=[0-9]{{1,9}}")


class StewardSettings(BaseModel):
    """Stewards and jobs."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    steward_seconds: float = Field(default=5.0, gt=0)
    """how often stewards look for facts"""
    hourly_caps: tuple[str, ...] = ()
    """how many new things of a kind a project gets in an hour, each as `KIND=NUMBER`"""
    hold_seconds: float = Field(default=600.0, gt=0)
    """how often the proposal of what is above the caps is made anew"""
    dormant_after_days: int = Field(default=30, ge=0, le=36_500)
    """after how many days without a fact a thing is marked as dormant; 0: never"""
    reflect_seconds: float = Field(default=3600.0, ge=0)
    """how often rules are proposed for what stayed unknown; 0: never"""
    reflect_model: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """chat model that may word them, a class of LangChain's as `package.module:Class`"""
    reflect_model_arguments: SecretStr | None = None
    """what that class is made with, a JSON object"""
    checkpoints: SecretStr | None = None
    """DSN of a PostgreSQL database for the checkpoints of the stewards' runs"""
    temporal: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,5}$")
    """address of a Temporal server, `host:port`: with it `fractalops worker` executes jobs"""
    temporal_namespace: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """namespace there"""
    temporal_queue: str = Field(default="fractalops", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """task queue that the workers of this platform share"""
    temporal_api_key: SecretStr | None = None
    """what is shown to Temporal"""
    temporal_tls: bool = False
    """whether to speak TLS to it"""
    state: Path | None = None
    """folder of a worker's own state; without it `fractalops/worker` below `$XDG_STATE_HOME`"""

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

    def caps(self) -> dict[str, int]:
        """The caps for an hour that differ from the usual ones."""
        return {
            kind: int(number) for kind, _, number in (c.partition("=") for c in self.hourly_caps)
        }
