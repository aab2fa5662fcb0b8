"""The shell script that runs a command where no program of ours is, and ends what it leaves.

Invariant: a command's text is only ever an argument of the script. The script's own processes have
no mark: only what ``env`` starts does. It answers with the command's own status once nothing with
the mark is left, and ends itself by a signal when it can't end what is left; where there is no
``grep -z`` it knows of nothing.
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.commands import MARK

END_MARKED = r"""
end_marked() {
    printf 'a\0' | grep -qzxF a || return 2
    round=0
    while [ "$round" -lt 20 ]; do
        found=$(grep -lzxF -e "$1" /proc/[0-9]*/environ)
        [ -n "$found" ] || return 0
        for file in $found; do
            process=${file#/proc/}
            kill -9 "${process%/environ}"
        done
        round=$((round + 1))
        sleep 0.1
    done
    return 1
}
"""
_RUN = (
    END_MARKED
    + r"""
limit=$1
shift
mark=$1
# What a shell says of a program that was killed is not the program's.
exec 3>&2 2>/dev/null
if timeout -s KILL 9 true </dev/null >/dev/null 2>&1; then
    (exec timeout -s KILL "$limit" env "$@") 2>&3 3>&-
else
    (exec env "$@") 2>&3 3>&-
fi
status=$?
end_marked "$mark" </dev/null >/dev/null 2>&1 || [ $? -eq 2 ] || kill -9 $$
exit "$status"
"""
)
_ONLY_END = (
    END_MARKED
    + r"""
end_marked "$1" </dev/null >/dev/null 2>&1
"""
)


def running(run: str, argv: Sequence[str], variables: Mapping[str, str], seconds: int) -> list[str]:
    """The arguments that run a command there. If nobody comes back it is ended after ``seconds``,
    where there is a ``timeout``. The program's name holds no ``=``."""
    given = (f"{name}={value}" for name, value in variables.items())
    return ["sh", "-c", _RUN, "sh", str(seconds), f"{MARK}={run}", *given, *argv]


def ending(run: str) -> list[str]:
    """The arguments that end what a run left there: 0 when nothing is left."""
    return ["sh", "-c", _ONLY_END, "sh", f"{MARK}={run}"]
