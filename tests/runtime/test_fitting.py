"""Which permitted action is taken, and what is said where there is none."""

from __future__ import annotations

import pytest

from runtime.assets import Locators, RuntimeAsset
from runtime.errors import NotPermitted, RequestRefused
from runtime.fitting import INTERPRETS, Fitting, check_path, fit_command, fit_request
from runtime.permitted_actions import PermittedAction, PermittedCommand, PermittedRequest
from runtime.urls import ExecutorUrl

READS_ANY = PermittedCommand(("cat", "*"), "reads")
CHANGES_ANY = PermittedCommand(("cat", "..."), "changes")
OPEN = PermittedCommand(("python", "..."), "reads")
EXACT = PermittedCommand(("python", "-V"), "changes")


def asset(*permits: PermittedAction, executor: str = "http://box:80/") -> RuntimeAsset:
    url = ExecutorUrl.parse(executor) if executor else None
    return RuntimeAsset("box", "lxc", "", Locators(), permits=permits, executor=url)


@pytest.mark.parametrize(
    ("permits", "argv", "expected"),
    [
        ((CHANGES_ANY, READS_ANY), "cat /x", Fitting("reads", '["cat","*"] (reads)')),
        ((CHANGES_ANY, READS_ANY), "cat -n /x", Fitting("changes", '["cat","..."] (changes)')),
        ((OPEN, EXACT), "python -V", Fitting("changes", '["python","-V"] (changes)')),
        ((OPEN, EXACT), "python x.py", Fitting("reads", '["python","..."] (reads)', INTERPRETS)),
    ],
)
def test_what_reads_and_leaves_least_open_is_taken(
    permits: tuple[PermittedCommand, ...], argv: str, expected: Fitting
) -> None:
    assert fit_command(asset(*permits), argv.split()) == expected
    assert fit_command(asset(*reversed(permits)), argv.split()) == expected


def test_what_is_not_permitted_is_told_what_is() -> None:
    many = [PermittedCommand((f"tool-{number:02}",), "reads") for number in range(30)]
    with pytest.raises(NotPermitted, match=r'"tool-00".*and 10 more') as found:
        fit_command(asset(*many), ("rm", "-rf", "/"))
    assert len(found.value.patterns) == 30
    with pytest.raises(NotPermitted, match="nothing of this kind"):
        fit_command(asset(PermittedRequest(("GET",), "/**", "reads")), ("GET", "/x"))


def test_a_request_is_to_an_executor_url() -> None:
    anything = PermittedRequest(("GET", "POST"), "/**", "reads")
    assert fit_request(asset(anything), "GET", "/a/b").effect == "reads"
    with pytest.raises(RequestRefused, match="no executor URL"):
        fit_request(asset(anything, executor=""), "GET", "/a")
    with pytest.raises(RequestRefused, match="none of"):
        fit_request(asset(anything), "get", "/a")


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "//a", "/a//b", "/./a", "/a/..", "/%2e%2e/a", "/%2E/a", "/a%2fb", "/a\\b"),
        *("/a%5cb", "/a?b", "/a#b", "/a%3fb", "/a%00", "/a\nb", "/a%0d%0a", "/a%25b", "/a" * 2000),
        *("http://other/", "/\u202ea", "/..;a/b", "/;a/b", "/%c0%ae", "/a\uff0fb", "/\uff0e\uff0e"),
    ],
)
def test_paths_that_can_be_read_in_more_than_one_way_are_refused(path: str) -> None:
    with pytest.raises(RequestRefused):
        check_path(path)


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a b", "/é/%C3%A9", "/a:b@c;d=e,f", "/..."])
def test_plain_paths_are_taken(path: str) -> None:
    check_path(path)
