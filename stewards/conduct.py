"""How a steward goes about its work: its limits and its pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from stewards.draft import Limits
from stewards.new_things import HourlyCaps
from stewards.pages import Pacing
from stewards.reflection_model import Wording


@dataclass(frozen=True)
class Conduct:
    """``limits`` are those of one draft, ``caps`` how much new a project gets in an hour. Things
    are dormant after so many days without a fact, never where ``dormant_after`` is 0. A steward
    reflects at most once in ``reflect_every``, never where that is nothing; ``wording`` may word
    what it proposes then."""

    limits: Limits = field(default_factory=Limits)
    pacing: Pacing = field(default_factory=Pacing)
    caps: HourlyCaps = field(default_factory=HourlyCaps)
    dormant_after: int = 0
    reflect_every: timedelta = timedelta(0)
    wording: Wording | None = None
