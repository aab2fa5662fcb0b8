"""What answers of a Proxmox VE mean, and which of its words say that nothing was started."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import MachineError, MachineMissing, MachineStopped, MachineUnreachable
from runtime.proxmox import Ended, Guest, ended_in, guests_in, here, is_final, last_line, refusal

WORDS: dict[str, tuple[type[MachineError] | None, bool]] = {
    "Configuration file 'nodes/a/qemu-server/101.conf' does not exist": (MachineMissing, True),
    "VM 101 is not running": (MachineStopped, True),
    "No QEMU guest agent configured": (MachineUnreachable, False),
    "QEMU guest agent is not running": (MachineUnreachable, False),
    "VM 101 qga command 'guest-exec' failed - unable to connect to VM 101 qga socket - timeout": (
        MachineUnreachable,
        False,
    ),
    "VM 101 qga command 'guest-exec' failed - got timeout": (None, False),
    "Agent error: Guest agent command failed, error was 'Failed to execute child process'": (
        MachineUnreachable,
        True,
    ),
    "Agent error: can't execute command (sh ARRAY(0x1))": (None, True),
    "Agent error: Invalid parameter 'pid'": (MachineUnreachable, True),
    "something that a later version says": (None, False),
    "": (None, False),
}


@pytest.mark.parametrize("words", WORDS)
def test_only_known_words_prove_that_nothing_was_started(words: str) -> None:
    kind, final = WORDS[words]
    error = refusal(f"a warning\n{words}\n", 101)
    assert (None if error is None else type(error)) is kind
    assert is_final(words) is final
    if error is not None:
        assert str(error) == f"machine 101: {words}"


def test_the_machines_of_a_cluster_are_read() -> None:
    answer: list[Any] = [
        {"type": "qemu", "vmid": 102, "node": "b", "name": "shop", "status": "running"},
        {"type": "lxc", "vmid": "101", "node": "a", "tags": "web;prod,x y", "template": 0},
        {"type": "qemu", "vmid": 900, "node": "a", "template": 1},
        {"type": "storage", "storage": "local", "node": "a"},
        {"type": "lxc", "node": "a"},
        {"type": "lxc", "vmid": True, "node": "a"},
        {"type": "lxc", "vmid": 103},
        "lxc",
    ]
    assert guests_in(answer) == (
        Guest(101, "a", "lxc", tags=("prod", "web", "x", "y")),
        Guest(102, "b", "qemu", "shop", "running"),
    )


def test_a_machine_is_found_where_it_is() -> None:
    guests = (Guest(101, "a", "lxc"), Guest(102, "b\n", "qemu"))
    assert here(guests, "a", 101) is guests[0]
    with pytest.raises(MachineMissing, match=r"102 is on node b now and not on a"):
        here(guests, "a", 102)
    with pytest.raises(MachineMissing, match="shows no machine 103"):
        here(guests, "a", 103)


def test_how_a_process_ended_is_read() -> None:
    assert ended_in({"exited": 0}) is None
    assert ended_in({"exited": False, "exitcode": 0}) is None
    assert ended_in({"exited": 1, "exitcode": 7}) == Ended(7, None)
    assert ended_in({"exited": True, "signal": "9"}) == Ended(None, 9)
    said = {"exited": 1, "exitcode": 0, "out-data": "Ã©\0", "err-data": "", "out-truncated": 1}
    assert ended_in(said) == Ended(0, None, "é\0".encode(), b"", True, False)
    # Where an answer isn't bytes but was read as UTF-8.
    assert ended_in({"exited": 1, "out-data": "→"}) == Ended(None, None, "→".encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
MEMBERS = ("exited", "exitcode", "signal", "out-data", "vmid", "node", "type", "tags", "template")


@given(
    JSON
    | st.dictionaries(st.sampled_from(MEMBERS), JSON)
    | st.lists(st.dictionaries(st.sampled_from(MEMBERS), JSON | st.sampled_from(["lxc", "qemu"])))
)
def test_any_answer_is_read_or_is_none(data: Any) -> None:
    for read in (guests_in, ended_in):
        try:
            read(data)
        except ValueError:
            continue


@given(st.text())
def test_words_fit_a_message(words: str) -> None:
    said = last_line(words)
    assert said.isprintable()
    assert 0 < len(said) <= 300
    refusal(words, 101)
