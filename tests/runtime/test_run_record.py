"""What the log commits to of a command's outcome."""

from __future__ import annotations

from datetime import UTC, datetime

from runtime.commands import Outcome, Output
from runtime.run_record import outcome_document

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
WHOLE = Output("sha256:" + "0" * 64, 5, 5)
CUT = Output("sha256:" + "1" * 64, 5, 5, cut=True)


def test_that_a_digest_is_of_what_was_kept_over_there_is_said() -> None:
    document = outcome_document(Outcome(0, None, NOW, NOW, CUT, WHOLE))
    assert document["stdout"]["cut"] is True
    assert document["stdout"]["truncated"] is True
    assert "cut" not in document["stderr"]
