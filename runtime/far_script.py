"""What a command is wrapped in where nobody of ours is there to end it.

Invariant: a wrapped command ends what it left behind before it answers, since whoever waits for its
output waits for as long as anything there holds it; where that can't be done, it ends itself by a
signal. ``timeout`` ends a command some seconds after its limit when nobody is there any more to do
so. The shell is a POSIX one; ``env``, ``timeout`` and ``grep -z`` have to be there (GNU, BusyBox).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from runtime.commands import MARK

GRACE_SECONDS: Final = 15

# The script's own processes have no mark: only what `env` starts does.
_END_SCRIPT = r"""
end_marked() {
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
mark=$1
shift
"""
_RUN_SCRIPT = (
    _END_SCRIPT
    + r"""
"$@"
status=$?
end_marked "$mark" </dev/null >/dev/null 2>&1 || kill -9 $$
exit "$status"
"""
)
_ONLY_END_SCRIPT = (
    _END_SCRIPT
    + r"""
end_marked "$mark" </dev/null >/dev/null 2>&1
"""
)


def run_words(
    run: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    seconds: float,
    *,
    clear: bool = False,
    grace: int = GRACE_SECONDS,
) -> list[str]:
    """The words that run ``arguments`` with the mark of the run and ``variables`` over what is set
    there, or with ``clear`` over nothing; for ``seconds`` and ``grace`` at most."""
    mark = f"{MARK}={run}"
    given = (f"{name}={value}" for name, value in variables.items())
    limit = str(math.ceil(seconds) + grace)
    far = ["env", *(["-i"] if clear else []), mark, *given, "timeout", "-s", "KILL", limit]
    return ["sh", "-c", _RUN_SCRIPT, "sh", mark, *far, *arguments]


def end_words(run: str) -> list[str]:
    """The words that end what a run left there, and fail where some of it is still there."""
    return ["sh", "-c", _ONLY_END_SCRIPT, "sh", f"{MARK}={run}"]
