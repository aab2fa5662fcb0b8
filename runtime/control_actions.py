"""What an order comes to on an asset as it is now: who permits it, and how it is carried out.

Invariant: preparing starts nothing. What was prepared is carried out by one call, which starts it
at most once and answers with the document of how it ended; a :class:`RuntimeFloorError` that it
raises says that nothing was started.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from threading import Event
from typing import Any

from runtime.assets import RuntimeAsset
from runtime.commands import Command, Sink
from runtime.control_request import ControlRequest, Send
from runtime.errors import CommandRefused
from runtime.fitting import Fitting, fit_command, fit_request
from runtime.machines import Machine
from runtime.run_record import outcome_document, reply_document

Perform = Callable[[str, Sink, Event], dict[str, Any]]
"""Carries it out for the run of this id; the sink hears output, the event cancels."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be done once it is begun."""

    asset: RuntimeAsset
    fitting: Fitting
    target: str
    """Where it leads: an executor URL, or the locators of the machine."""
    perform: Perform


class ControlActions:
    """``opened`` gives the machine of an asset, ``send`` sends a request."""

    def __init__(self, opened: Callable[[RuntimeAsset], Machine], send: Send) -> None:
        self._opened = opened
        self._send = send

    def prepared(self, asset: RuntimeAsset, action: Mapping[str, Any]) -> Prepared:
        """Raises :class:`runtime.errors.RuntimeFloorError` where it can't be carried out."""
        if action.get("kind") == "request":
            return self._request(asset, ControlRequest.of(action))
        try:
            command = Command(
                "unnamed",
                tuple(action["argv"]),
                seconds=float(action["seconds"]),
                output_bytes=int(action["output_bytes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CommandRefused("the order is of no command that this version runs") from error
        return self._command(asset, command)

    def end(self, asset: RuntimeAsset, run: str) -> bool:
        """Ends what is left of a command on an asset; ``False`` when that isn't certain. Raises
        :class:`runtime.errors.RuntimeFloorError`."""
        return self._opened(asset).end(run)

    def _command(self, asset: RuntimeAsset, command: Command) -> Prepared:
        fitting = fit_command(asset, command.argv)
        machine = self._opened(asset)

        def perform(run: str, sink: Sink, cancel: Event) -> dict[str, Any]:
            outcome = machine.run(replace(command, run=run), sink=sink, cancel=cancel)
            return outcome_document(outcome)

        return Prepared(asset, fitting, _place(asset), perform)

    def _request(self, asset: RuntimeAsset, request: ControlRequest) -> Prepared:
        fitting = fit_request(asset, request.method, request.path)
        executor = asset.executor
        assert executor is not None

        def perform(run: str, sink: Sink, cancel: Event) -> dict[str, Any]:
            return reply_document(self._send(executor, request, sink, cancel))

        return Prepared(asset, fitting, executor.address, perform)


def _place(asset: RuntimeAsset) -> str:
    where = {name: value for name, value in asdict(asset.locators).items() if value}
    return json.dumps({"kind": asset.kind, **where}, ensure_ascii=False)
