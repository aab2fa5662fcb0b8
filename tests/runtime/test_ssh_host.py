"""What the client of SSH is told, and what is read of what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import AdapterError
from runtime.ssh_host import Journal, SshHost

GIVEN: dict[str, Any] = {
    "address": "host.example.org",
    "identity": Path("/a folder/100%/key"),
    "known_hosts": Path("/a folder/known"),
}

REFUSED: dict[str, dict[str, Any]] = {
    "an option for an address": {"address": "-oProxyCommand=x"},
    "an address with a space": {"address": "a b"},
    "an address with a user": {"address": "root@host"},
    "an option for a user": {"user": "-l"},
    "a user with a token": {"user": "%h"},
    "no port": {"port": 0},
    "no such port": {"port": 65536},
    "a quote in a path": {"identity": Path('/a"b')},
    "a line in a path": {"known_hosts": Path("/a\nb")},
    "a variable in a path": {"known_hosts": Path("/${HOME}")},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_client_could_take_for_something_else_is_refused(case: str) -> None:
    with pytest.raises(AdapterError):
        SshHost(**{**GIVEN, **REFUSED[case]})


def test_the_client_is_told_all_and_looks_nowhere_else() -> None:
    arguments = SshHost(**GIVEN, user="ops", port=2222).client(Path("/j"))
    assert arguments[:6] == ["ssh", "-F", "/dev/null", "-T", "-E", "/j"]
    assert arguments[-6:] == ["-p", "2222", "-l", "ops", "--", "host.example.org"]
    assert {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        'UserKnownHostsFile="/a folder/known"',
        'IdentityFile="/a folder/100%%/key"',
        "IdentityAgent=none",
    } <= set(arguments)


def test_a_journal_tells_how_far_a_connection_came() -> None:
    refused = Journal("Host key verification failed.\n")
    let_in = 'sshconnect2.c:ssh_userauth2():580 (pid=1): Authenticated to h ([h]:22) using "x".\n'
    ended = "debug1: clientloop.c:client_input_channel_req():1 (pid=1): channel 0 rtype {} reply 0"
    assert (refused.refused, refused.last_words) == (True, "Host key verification failed.")
    assert (Journal(let_in).refused, Journal(let_in).exit_status) == (False, False)
    assert not Journal(let_in + refused.text).refused
    assert Journal(let_in + ended.format("exit-status")).exit_status
    assert not Journal(let_in + ended.format("exit-signal")).exit_status
    assert (Journal("").last_words, Journal("").refused) == (None, False)


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("root@h: Permission denied (publickey).", True),
        ("ssh: connect to host h port 22: Connection refused", True),
        ("ssh: connect to host h port 22: Connection timed out", True),
        ("ssh: Could not resolve hostname h: Name or service not known", True),
        ("kex_exchange_identification: Connection closed by remote host", True),
        ("command-line: line 0: Bad configuration option: logverbose", True),
        ("client_loop: send disconnect: Broken pipe", False),
        ("Timeout, server h not responding.", False),
        ("Received disconnect from h port 22:11: root@h: Permission denied (x)", False),
        ("something that a later version says", False),
    ],
)
def test_only_known_words_prove_that_nothing_was_sent(words: str, refused: bool) -> None:
    assert Journal(f"Warning: something.\r\n{words}\r\n").refused == refused
