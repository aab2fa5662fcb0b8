"""Facts that changed under the stewards: told once they are there, until they will be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graph_api.changed_facts import ChangedFacts
from ingest.inbox import Inbox


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail)
    yield opened
    opened.close()


def test_what_is_being_written_is_told_once_it_is_there(inbox: Inbox) -> None:
    changed = ChangedFacts(inbox)
    with changed.writing() as note:
        note({"shop": 7})
        note({"shop": 9, "bank": 2})
        assert changed.to_read() == {}
    assert changed.to_read() == {"shop": 7, "bank": 2}
    changed.will_be_read("shop", 7)
    assert changed.to_read() == {"bank": 2}
    assert ChangedFacts(inbox).to_read() == {"bank": 2}


def test_a_crash_while_it_is_written_loses_nothing(inbox: Inbox) -> None:
    def crash() -> None:
        with ChangedFacts(inbox).writing() as note:
            note({"shop": 7})
            # As the process that comes after a kill would find it.
            assert ChangedFacts(inbox).to_read() == {"shop": 7}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert ChangedFacts(inbox).to_read() == {"shop": 7}


def test_who_will_read_a_part_is_told_again(inbox: Inbox) -> None:
    changed = ChangedFacts(inbox)
    with changed.writing() as note:
        note({"shop": 3})
    changed.will_be_read("shop", 5)
    assert changed.to_read() == {"shop": 3}
    changed.will_be_read("shop", 2)
    assert changed.to_read() == {}
    changed.will_be_read("nobody", 1)


def test_a_second_run_that_is_not_over_is_not_forgotten(inbox: Inbox) -> None:
    changed = ChangedFacts(inbox)
    with changed.writing() as first:
        first({"shop": 8})
    with changed.writing() as second:
        second({"shop": 4})
        assert changed.to_read() == {"shop": 8}
        changed.will_be_read("shop", 8)
        assert changed.to_read() == {}
        assert ChangedFacts(inbox).to_read() == {"shop": 4}
    assert changed.to_read() == {"shop": 4}
