"""The rules by which something is taken out of events, as the graph states them.

Invariant: every pattern is RE2's, so no text can keep a rule busy; a rule that can't be used is
left out, logged and counted, and never stops the others. Where the graph has no rule that can be
used, the shipped ones hold: without a rule nothing would be taken out.
The rules are graph data: https://w3id.org/fractalops/ns#RedactionRule
Patterns: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2
from prometheus_client import Counter
from pyoxigraph import Quad, RdfFormat, parse

from ingest.redaction_checks import CHECKS
from ingest.rule_quads import described
from ontology.library import rules_turtle
from ontology.vocab import Fo

MAX_PATTERN = 4096
MAX_REPLACEMENT = 64

RULES_LEFT_OUT = Counter(
    "fractalops_redaction_rules_left_out_total", "Redaction rules in the graph that can't be used."
)

# Texts are looked at many at a time, each a line of its own: ends of the whole are not what they
# seem, and a mode could undo that.
_ENDS_OF_TEXT = re.compile(r"(?:^|[^\\])(?:\\\\)*\\[AzZ]|\(\?[imsU]*-[isU]*m|\(\?-")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RedactionRule:
    """One rule. Empty ``key`` means any key, no ``kinds`` any kind of event; without ``value`` the
    whole value of an attribute with that key is replaced. ``check`` is empty or in
    :data:`ingest.redaction_checks.CHECKS`."""

    iri: str
    priority: int
    key: str
    value: str
    check: str
    replacement: str
    kinds: frozenset[str] = frozenset()


def redaction_rules(quads: Iterable[Quad]) -> tuple[RedactionRule, ...]:
    """The usable rules among the quads of the rules graph, in the order they are applied; where
    there is none, :func:`shipped_rules`."""
    found = _rules(quads)
    if not found:
        log.info("the graph has no redaction rules: the shipped ones are applied")
    return found or shipped_rules()


@cache
def shipped_rules() -> tuple[RedactionRule, ...]:
    """The rules that an organisation is founded with."""
    turtle = rules_turtle().values()
    return _rules(quad for text in turtle for quad in parse(text, RdfFormat.TURTLE))


def compiled(pattern: str) -> Any:
    """The expression, for bytes in UTF-8. Raises :class:`ValueError` for one that can't be used."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern may have {MAX_PATTERN} characters")
    if _ENDS_OF_TEXT.search(pattern):
        raise ValueError("write ^ and $ for the ends, and no mode that changes what they mean")
    try:
        return re2.compile(f"(?m){pattern}", _options())
    except re2.error as error:
        raise ValueError(f"{pattern!r} is no expression of RE2: {error}") from error


def any_of(patterns: Sequence[str]) -> Any:
    """One expression that finds something where one of these usable patterns does."""
    # No pattern at all finds nothing, not even in an empty text.
    return re2.compile(
        "|".join(f"(?m:{pattern})" for pattern in patterns) or r"[^\x00-\x{10FFFF}]", _options()
    )


def _options() -> Any:
    """Quietly, and with room for the states of a large expression."""
    chosen = re2.Options()
    chosen.log_errors = False
    chosen.max_mem = 64 << 20
    return chosen


def _rules(quads: Iterable[Quad]) -> tuple[RedactionRule, ...]:
    rules = []
    for iri, values in described(quads, Fo.RedactionRule).items():
        try:
            rules.append(_rule(iri, values))
        except ValueError as error:
            RULES_LEFT_OUT.inc()
            log.error("redaction rule %s is not used: %s", iri, error)
    return tuple(sorted(rules, key=lambda rule: (-rule.priority, rule.iri)))


def _rule(iri: str, values: Mapping[str, list[str]]) -> RedactionRule:
    rule = RedactionRule(
        iri=iri,
        priority=int(_one(values, Fo.priority)),
        key=_one(values, Fo.keyPattern, optional=True),
        value=_one(values, Fo.valuePattern, optional=True),
        check=_one(values, Fo.checkedBy, optional=True),
        replacement=_one(values, Fo.replacement),
        kinds=frozenset(values.get(Fo.whenKind, ())),
    )
    if not rule.key and not rule.value:
        raise ValueError("it needs fo:keyPattern, fo:valuePattern or both")
    if rule.check and rule.check not in CHECKS:
        raise ValueError(f"fo:checkedBy is one of {', '.join(CHECKS)}")
    if len(rule.replacement) > MAX_REPLACEMENT or not rule.replacement.isprintable():
        raise ValueError(f"fo:replacement is printable and has {MAX_REPLACEMENT} characters")
    if rule.key:
        compiled(rule.key)
    if rule.value and compiled(rule.value).search(b"") is not None:
        raise ValueError("fo:valuePattern finds nothing at all everywhere: make it find something")
    return rule


def _one(values: Mapping[str, list[str]], predicate: str, *, optional: bool = False) -> str:
    found = values.get(predicate, [])
    if optional and not found:
        return ""
    if len(found) != 1 or not found[0]:
        raise ValueError(f"it needs exactly one fo:{predicate.rpartition('#')[2]}")
    return found[0]
