"""A proposal's states: the table is the only thing that says what may follow what."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from proofs.errors import WrongState
from proofs.proposal import (
    TRANSITIONS,
    DecisionView,
    ProposalView,
    Submission,
    Transition,
    advance,
)

ALLOWED = {
    ("draft", "submitted"),
    ("submitted", "invalid"),
    ("submitted", "valid"),
    ("valid", "awaiting decision"),
    ("valid", "approved"),
    ("valid", "rejected"),
    ("awaiting decision", "approved"),
    ("awaiting decision", "rejected"),
    ("awaiting decision", "changes requested"),
    ("awaiting decision", "expired"),
    ("awaiting decision", "withdrawn"),
    ("awaiting decision", "superseded"),
    ("awaiting decision", "invalid"),
    ("approved", "applied"),
    ("approved", "executing"),
    ("approved", "superseded"),
    ("executing", "executed"),
    ("applied", "proven"),
    ("applied", "reverted"),
    ("proven", "reverted"),
}
ENDS = {
    "invalid",
    "rejected",
    "changes requested",
    "expired",
    "withdrawn",
    "superseded",
    "executed",
    "reverted",
}

VIEW = ProposalView(
    id="p1",
    iri="http://e/p1",
    state="draft",
    head=3,
    proof=None,
    project="shop",
    author="http://e/ann",
    rationale="why",
    graphs=("http://e/g",),
    additions=2,
    removals=0,
    evidence=("sha256:" + "0" * 64,),
    submitted_at="2026-11-22T10:00:00.000000Z",
)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TRANSITIONS, repeat=2)))
def test_the_table(before: str, after: str) -> None:
    if (before, after) in ALLOWED:
        assert advance(before, after) == after
    else:
        with pytest.raises(WrongState, match=f"that is {before} cannot become {after}"):
            advance(before, after)


def test_states_that_nothing_follows() -> None:
    assert {state for state, following in TRANSITIONS.items() if not following} == ENDS
    assert set().union(*TRANSITIONS.values()) | {"draft"} == set(TRANSITIONS)


def test_a_path_is_allowed_step_by_step() -> None:
    assert advance("draft", "submitted", "valid", "approved", "applied") == "applied"
    with pytest.raises(WrongState, match="submitted cannot become applied"):
        advance("draft", "submitted", "applied")


def test_a_view_remembers_each_state_and_the_entry_that_brought_it() -> None:
    view = VIEW.reached(["submitted", "valid"], "t1", 3).reached(["awaiting decision"], "t2", 4)
    assert (view.state, view.head) == ("awaiting decision", 4)
    assert view.transitions == (
        Transition("submitted", "t1", 3),
        Transition("valid", "t1", 3),
        Transition("awaiting decision", "t2", 4),
    )
    with pytest.raises(WrongState):
        view.reached(["applied"], "t3", 5)


def test_a_view_survives_its_json() -> None:
    view = replace(
        VIEW.reached(["submitted", "invalid"], "t", 3),
        report={"conforms": False, "results": []},
        decisions=(DecisionView("http://e/bob", "reject", "no \u2028 \U0001f6d1", "t", False),),
    )
    assert ProposalView.from_json(view.to_json()) == view


def test_a_document_survives_its_bytes() -> None:
    document = Submission(
        id="p1",
        project=None,
        principal="http://e/ann",
        rationale="\u00fcber",
        graphs=("http://e/g",),
        additions="a" * 64,
        additions_count=1,
        removals="b" * 64,
        removals_count=0,
        evidence=("sha256:" + "0" * 64,),
        base=4,
        media_type="text/turtle",
        source_sha256="c" * 64,
        reverts=None,
        submitted_at="t",
    )
    assert Submission.from_bytes(document.to_bytes()) == document
    assert document.to_bytes() == document.to_bytes().strip()
