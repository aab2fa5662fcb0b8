"""Which permitted action of an asset a command or a request fits, and who must decide on it.

Invariant: what fits nothing is refused with what there is; of several patterns that fit, one that
leaves nothing to an interpreter comes first, of those one that reads. A pattern that leaves open
what an interpreter does needs a person, whatever effect it states and whatever grants say.
Source: ``fo:permits`` (https://w3id.org/fractalops/ns#permits)
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.asset_graph import MAX_NAMED
from runtime.assets import RuntimeAsset
from runtime.errors import NotPermitted, RequestRefused
from runtime.permitted_actions import (
    METHODS,
    Effect,
    PermittedAction,
    PermittedCommand,
    PermittedRequest,
    is_plain_path,
)

LONGEST_PATH = 2_000
_LONGEST_SHOWN = 200

INTERPRETS = (
    "what it permits leaves open what an interpreter, a shell or a program that starts others does"
)


@dataclass(frozen=True, slots=True)
class Fitting:
    """``rule`` is the pattern as somebody who decides can read it; ``person`` is why a person must
    decide, whatever grants say, and empty otherwise."""

    effect: Effect
    rule: str
    person: str = ""


def fit_command(asset: RuntimeAsset, argv: Sequence[str]) -> Fitting:
    """What permits this command. Raises :class:`NotPermitted`."""
    permitted = [action for action in asset.permits if isinstance(action, PermittedCommand)]
    fitting = [action for action in permitted if action.fits(argv)]
    if not fitting:
        raise _refused(asset, f"the command {shlex.join(argv)[:_LONGEST_SHOWN]}", permitted)
    best = min(
        fitting,
        key=lambda action: (action.interprets_in(argv), action.effect == "changes", action),
    )
    return Fitting(best.effect, text_of(best), INTERPRETS if best.interprets_in(argv) else "")


def fit_request(asset: RuntimeAsset, method: str, path: str) -> Fitting:
    """What permits this request to the executor URL. Raises :class:`RequestRefused` for what is no
    such request, :class:`NotPermitted`."""
    if method not in METHODS:
        raise RequestRefused(f"{method[:20]!r} is none of {', '.join(METHODS)}")
    check_path(path)
    if asset.executor is None:
        raise RequestRefused(
            f"{asset.asset_id} has no executor URL, and machine control uses no other: declare one"
            " in its topology"
        )
    permitted = [action for action in asset.permits if isinstance(action, PermittedRequest)]
    fitting = [action for action in permitted if action.fits(method, path)]
    if not fitting:
        raise _refused(asset, f"{method} {path[:_LONGEST_SHOWN]}", permitted)
    best = min(fitting, key=lambda action: (action.effect == "changes", action))
    return Fitting(best.effect, text_of(best))


def check_path(path: str) -> None:
    """Raises :class:`RequestRefused` for a path that servers may read in more than one way."""
    if not path.startswith("/") or len(path) > LONGEST_PATH:
        raise RequestRefused(f"a path begins with / and has at most {LONGEST_PATH} characters")
    if "?" in path or "#" in path:
        raise RequestRefused("a path has neither query nor fragment: patterns say nothing of them")
    if not is_plain_path(path):
        raise RequestRefused(
            "a path has no empty or dot segments, with or without ; behind them, no backslash, no"
            " control characters, and neither one of / ? # % nor what is no UTF-8 in"
            " percent-encoded form"
        )


def text_of(action: PermittedAction) -> str:
    """A permitted action on one line."""
    if isinstance(action, PermittedCommand):
        return f"{action.pattern} ({action.effect})"
    return f"{'|'.join(action.methods)} {action.path} ({action.effect})"


def _refused(asset: RuntimeAsset, what: str, permitted: Sequence[PermittedAction]) -> NotPermitted:
    patterns = [text_of(action) for action in permitted]
    more = len(patterns) - MAX_NAMED
    there = "; ".join(patterns[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return NotPermitted(
        f"{asset.asset_id} does not permit {what}."
        + (f" It permits: {there}" if patterns else " It permits nothing of this kind"),
        patterns,
    )
