"""A pattern fits what it says and no more."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.permitted_actions import PermittedCommand, PermittedRequest, _fits

COMMANDS = [
    (["python", "-V"], ["python", "-V"], True),
    (["python", "-V"], ["python", "-V", "-c"], False),
    (["python", "-V"], ["python"], False),
    (["python", "-V"], ["/usr/bin/python", "-V"], False),
    (["cat", "*"], ["cat", "a file with 'quotes'\nand a line"], True),
    (["cat", "*"], ["cat", ""], True),
    (["cat", "*"], ["cat", "-n"], False),
    (["cat", "*"], ["cat", "a", "b"], False),
    (["cat", "*"], ["cat", "a\0b"], False),
    (["cat", "-*"], ["cat", "-n"], True),
    (["cat", "/var/log/*.log"], ["cat", "/var/log/a.log"], True),
    (["cat", "/var/log/*.log"], ["cat", "/var/log/a.log.old"], False),
    (["cat", "/var/log/*"], ["cat", "/var/log/../../etc/shadow"], False),
    (["cat", "/var/log/*"], ["cat", "/var/log/.."], False),
    (["cat", "/var/log/*"], ["cat", "/var/log/a..b"], True),
    (["tool", "--in=/srv/*"], ["tool", "--in=/srv/../etc"], False),
    (["cat", "a*a"], ["cat", "a"], False),
    (["cat", "a*a"], ["cat", "aa"], True),
    (["echo", "..."], ["echo"], True),
    (["echo", "..."], ["echo", "-n", "a", "..."], True),
    (["echo", "a", "..."], ["echo"], False),
    (["id"], [], False),
]


@pytest.mark.parametrize(("pattern", "argv", "fits"), COMMANDS)
def test_commands(pattern: list[str], argv: list[str], fits: bool) -> None:
    assert PermittedCommand(tuple(pattern), "reads").fits(argv) is fits


REQUESTS = [
    ("/health", "/health", True),
    ("/health", "/health/", False),
    ("/health", "/HEALTH", False),
    ("/jobs/*", "/jobs/7", True),
    ("/jobs/*", "/jobs/", False),
    ("/jobs/**", "/jobs/", False),
    ("/jobs/", "/jobs/", True),
    ("/**", "/", True),
    ("/jobs/**", "/jobs/..;a=b/admin", False),
    ("/jobs/**", "/jobs/%2e%2e%3bx/admin", False),
    ("/jobs/**", "/jobs/;x/admin", False),
    ("/jobs/*", "/jobs/7;v=1", True),
    ("/jobs/*", "/jobs/\uff0e\uff0e", False),
    ("/jobs/*", "/jobs/a\uff0fb", False),
    ("/jobs/*", "/jobs/%c0%ae%c0%ae", False),
    ("/jobs/*", "/jobs/7/runs", False),
    ("/jobs/*/runs", "/jobs//runs", False),
    ("/jobs/*", "/jobs/..", False),
    ("/jobs/*", "/jobs/%2e%2e", False),
    ("/jobs/*", "/jobs/a%2fb", False),
    ("/jobs/*", "/jobs/a%5cb", False),
    ("/jobs/*", "/jobs/a%00", False),
    ("/jobs/*", "/jobs/a?b=c", False),
    ("/jobs/*", "/jobs/a%252e", False),
    ("/jobs/**", "/jobs/7/runs/1", True),
    ("/jobs/**", "/jobs", False),
    ("/jobs/**", "/jobs/7/../../admin", False),
    ("/jobs/7*", "/jobs/71", True),
    ("/jobs", "jobs", False),
    ("/jobs", "", False),
]


@pytest.mark.parametrize(("pattern", "path", "fits"), REQUESTS)
def test_requests(pattern: str, path: str, fits: bool) -> None:
    request = PermittedRequest(("GET", "HEAD"), pattern, "reads")
    assert request.fits("GET", path) is fits
    assert not request.fits("POST", path)
    assert not request.fits("get", path)


@given(st.text("a*b", max_size=12), st.text("ab", max_size=24))
def test_a_star_is_any_characters(pattern: str, text: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), text) is not None
    assert _fits(pattern, text) is expected


def test_a_hostile_pattern_takes_its_length() -> None:
    assert not _fits("a*" * 5_000 + "b", "a" * 100_000)


@pytest.mark.parametrize(
    ("argv", "interprets"),
    [
        (("bash", "-c", "*"), True),
        (("/usr/bin/python3.11", "..."), True),
        (("python", "-V"), False),
        (("cat", "*"), False),
        (("/usr/bin/env", "python", "*"), True),
        (("busybox", "*"), True),
        (("BusyBox-static", "sh", "-c", "*"), True),
        (("python3.11-dbg", "*"), True),
        (("node.exe", "*"), True),
        (("find", "/srv", "..."), True),
        (("tar", "xf", "*"), True),
        (("git", "-c", "*"), True),
        (("timeout", "5", "sh", "-c", "*"), True),
        (("ld-linux-x86-64.so.2", "*"), True),
        (("unknown-starter", "/bin/sh", "-c", "*"), True),
        (("unknown", "--eval=*"), True),
        (("unknown", "--exec", "*"), True),
        (("unknown", "--checkpoint-action=exec=*"), True),
        (("sh", "-c", "systemctl restart web"), False),
        (("unknown", "--lines=*"), False),
        (("lxc-attach", "-n", "*"), True),
        (("gcc-12", "*"), True),
        (("vim.basic", "*"), True),
        (("journalctl", "-u", "*"), False),
        (("batch-import", "*"), False),
        (("node-exporter", "..."), False),
        (("echo", "..."), False),
    ],
)
def test_what_does_as_it_is_told_is_known(argv: tuple[str, ...], interprets: bool) -> None:
    assert PermittedCommand(argv, "changes").interprets is interprets


@pytest.mark.parametrize(
    ("argv", "interprets"),
    [
        ("tool -x a", False),
        ("tool which python", False),
        ("tool sh -c id", True),
        ("tool -n /usr/bin/python3.11 x.py", True),
        ("tool --exec id", True),
        ("tool --to-command=id", True),
    ],
)
def test_further_arguments_are_looked_at(argv: str, interprets: bool) -> None:
    permitted = PermittedCommand(("tool", "..."), "reads")
    assert permitted.fits(argv.split())
    assert permitted.interprets_in(argv.split()) is interprets
