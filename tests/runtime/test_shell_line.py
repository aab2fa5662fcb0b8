"""What a shell makes of a line is what the line was made of."""

from __future__ import annotations

import shlex
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.process_exec import capture
from runtime.shell_line import armoured, shell_line

SPECIAL = "'\"\\$`!*?[]{}()<>|&;#~=%^-\n\r\t "
ARGUMENTS = st.lists(
    st.text(
        st.one_of(
            st.sampled_from(SPECIAL),
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
        ),
        max_size=30,
    ),
    max_size=6,
)
SHELLS = {
    "sh": ("sh",),
    "bash": ("bash", "--norc"),
    "dash": ("dash",),
    "busybox": ("busybox", "sh"),
    "zsh": ("zsh", "-f"),
    "ksh": ("ksh",),
}


@given(ARGUMENTS)
def test_a_line_is_read_back(arguments: list[str]) -> None:
    assert shlex.split(shell_line(arguments)) == arguments


@pytest.mark.parametrize("name", SHELLS)
def test_real_shells_read_it_back(name: str) -> None:
    shell = SHELLS[name]
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(ARGUMENTS)
    def read_back(arguments: list[str]) -> None:
        line = shell_line(["printf", r"%s\0", "-first", *arguments])
        done = capture([*shell, "-c", line], timeout=30).checked()
        assert done.stdout == b"".join(a.encode() + b"\0" for a in ["-first", *arguments])
        words = armoured(["printf", r"%s\0", "-first", *arguments])
        assert words[0] == "sh"
        assert all(word and word.isascii() and word.isprintable() for word in words)
        again = capture([*shell, *words[1:]], timeout=30).checked()
        assert again.stdout == done.stdout

    read_back()


@pytest.mark.parametrize("word", ["if", "A=b", "~", "-x", "", "*", "exec"])
def test_nothing_stands_bare(word: str) -> None:
    assert shell_line([word]) == f"'{word}'"


def test_a_nul_has_no_line() -> None:
    with pytest.raises(ValueError, match="NUL"):
        shell_line(["a\0"])
