"""How runs ended: kept as evidence, and recorded in the journal.

Invariant: an end that was seen is recorded as it was, whatever becomes of the output. What the
journal doesn't take now stays here and is offered again; the process that ends before leaves the
run to the next one, which knows nothing of its end and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from proofs.errors import BadSubmission, ProofError, WrongState
from proofs.orders import Order, Result
from proofs.proposal import ProposalView
from runtime.assets import RuntimeAsset
from runtime.commands import Stream
from runtime.control_orders import Orders
from runtime.run_output import RunOutput
from runtime.run_record import RunRecord, short

LOGGER = logging.getLogger(__name__)

Keep = Callable[[RunRecord], str]
"""Keeps a record and its output as evidence, and answers with the digest of that."""


class RunEnds:
    """Any thread may call. ``clock`` gives UTC."""

    def __init__(self, orders: Orders, keep: Keep, clock: Callable[[], datetime]) -> None:
        self._orders = orders
        self._keep = keep
        self._clock = clock
        self._waiting: dict[str, Result] = {}

    def end(
        self,
        view: ProposalView,
        order: Order,
        asset: RuntimeAsset | None,
        document: dict[str, Any],
        began: datetime,
        output: RunOutput | None = None,
    ) -> None:
        """Keeps and records how a run ended; ``document`` is one of :mod:`runtime.run_record`."""
        record = RunRecord(
            run=view.id,
            kind=str(order.action.get("kind", "run")),
            about=order.asset_id,
            subject=order.asset,
            principal=view.author,
            project=view.project or "",
            environment="" if asset is None else asset.environment,
            began=began,
            ended=self._clock(),
            outcome=str(document["outcome"]),
            document=document,
            action=order.action,
            effect=order.effect,
            entry=view.head,
            stdout=b"" if output is None else output.of(Stream.STDOUT),
            stderr=b"" if output is None else output.of(Stream.STDERR),
        )
        evidence: tuple[str, ...] = ()
        try:
            evidence = (self._keep(record),)
        except Exception as error:
            # How it ended is recorded, whatever becomes of what it printed.
            LOGGER.exception("the output of run %s is not kept", view.id)
            document = {**document, "not_kept": short(str(error) or type(error).__name__)}
        result = Result(document, evidence)
        if not self._recorded(view.id, result):
            self._waiting[view.id] = result

    def waiting(self) -> frozenset[str]:
        """The runs whose end the journal has not taken yet."""
        return frozenset(self._waiting)

    def record_rest(self) -> list[str]:
        """Offers what waits to the journal again: the runs whose end it has taken."""
        taken = [run for run, result in list(self._waiting.items()) if self._recorded(run, result)]
        for run in taken:
            del self._waiting[run]
        return taken

    def _recorded(self, run: str, result: Result) -> bool:
        try:
            try:
                self._orders.finish(run, result)
            except BadSubmission as error:
                kept = {name: result.document.get(name) for name in ("outcome", "exit_code")}
                kept["reason"] = short(f"more about it can't be recorded: {error}")
                self._orders.finish(run, Result(kept, result.evidence))
        except WrongState:
            # It is recorded already.
            return True
        except ProofError as error:
            LOGGER.error("the end of run %s is not recorded yet: %s", run, error)
            return False
        return True
