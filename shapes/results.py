"""Findings, made into results that somebody can act on.

Invariant: the words follow from the finding alone; a shape's own ``sh:message`` comes before ours.
A message may name ``{$this}``, ``{$value}``, ``{$path}`` and the parameters of its constraint.
Specification: https://www.w3.org/TR/shacl/#results
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pyoxigraph import Literal

from ontology.vocab import Sh
from shapes.evaluate import Finding
from shapes.model import (
    Closed,
    Combined,
    Compared,
    Constraint,
    Count,
    HasValue,
    InstanceOf,
    Qualified,
    Query,
    UniqueLanguages,
    ValueTest,
)
from shapes.overlay import Row
from shapes.report import Result
from shapes.view import Node

_PLACEHOLDER = re.compile(r"\{[$?](\w+)\}")
_SHORT = 200


def result_of(finding: Finding, cause: Row | None) -> Result:
    """The result of a finding, and the statement of the change that led to it."""
    shape, constraint = finding.shape, finding.constraint
    own = _own_messages(finding)
    messages = tuple(str(_filled(text, finding)) for text in own)
    said, advice = _WORDS[type(constraint)](constraint, finding)
    return Result(
        focus=str(finding.focus),
        path=None if finding.path is None else str(finding.path),
        value=None if finding.value is None else str(finding.value),
        message="; ".join(_filled(text, finding).value for text in own) or said,
        shape=str(shape.node),
        severity=shape.severity,
        component=f"<{constraint.component}>",
        messages=messages,
        cause=None if cause is None else _row(cause),
        advice=advice,
        source=_source(constraint),
    )


def _source(constraint: Constraint) -> str | None:
    # A component is named by what it is; only of sh:sparql may a shape have several.
    if isinstance(constraint, Query) and constraint.component == Sh.SPARQLConstraintComponent:
        return str(constraint.source)
    return None


def _own_messages(finding: Finding) -> tuple[Literal, ...]:
    """What the shape's author says: for a query its own words, then those of its shape."""
    constraint, shape = finding.constraint, finding.shape
    if not isinstance(constraint, Query):
        return shape.messages
    message = dict(finding.bindings).get("message")
    if isinstance(message, Literal):
        return (message,)
    return constraint.messages or shape.messages


def _row(cause: Row) -> str:
    return f"{'A' if cause.added else 'D'} {cause.quad} ."


def _filled(text: Literal, finding: Finding) -> Literal:
    if "{" not in text.value:
        return text
    known: dict[str, object] = {
        "this": finding.focus,
        "focusNode": finding.focus,
        "path": finding.path,
        "PATH": finding.path,
        "value": finding.value,
        **dict(_parameters(finding.constraint)),
        **dict(finding.bindings),
    }

    def replace(match: re.Match[str]) -> str:
        term = known.get(match[1])
        if term is None:
            return match[0]
        return term.value if isinstance(term, Literal) else str(term)

    filled = _PLACEHOLDER.sub(replace, text.value)
    if text.language:
        return Literal(filled, language=text.language)
    return Literal(filled, datatype=text.datatype)


def _parameters(constraint: Constraint) -> list[tuple[str, object]]:
    match constraint:
        case ValueTest(parameters=parameters):
            return list(parameters)
        case Count(bound=bound, at_least=at_least):
            return [("minCount" if at_least else "maxCount", bound)]
        case Qualified(bound=bound, at_least=at_least):
            return [("qualifiedMinCount" if at_least else "qualifiedMaxCount", bound)]
        case InstanceOf(type=kind):
            return [("class", kind)]
        case Query(bound=bound):
            return list(bound)
        case HasValue(value=value):
            return [("hasValue", value)]
        case Compared(predicate=predicate):
            return [(_local(constraint), predicate)]
    return []


def _local(constraint: Constraint) -> str:
    name = constraint.component.rpartition("#")[2].removesuffix("ConstraintComponent")
    return name[:1].lower() + name[1:]


# --- what is wrong, and what would make it pass


def _values(number: int) -> str:
    return f"{number} value" + ("" if number == 1 else "s")


def _more(number: int) -> str:
    return f"{number} more value" + ("" if number == 1 else "s")


def _shown(term: Node | None) -> str:
    text = str(term)
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _at(finding: Finding) -> str:
    return "the node itself" if finding.path is None else str(finding.path)


def _value_test(asked: ValueTest, finding: Finding) -> tuple[str, str]:
    said = f"{_shown(finding.value)} must {asked.requirement}"
    if finding.shape.path is None:
        return said, f"this node must {asked.requirement}: nothing else can take its place here"
    return said, f"give {_at(finding)} a value that would {asked.requirement}, or remove this one"


def _instance_of(asked: InstanceOf, finding: Finding) -> tuple[str, str]:
    value = _shown(finding.value)
    said = f"{value} must be an instance of {asked.type}"
    if isinstance(finding.value, Literal):
        return said, f"refer to a node of type {asked.type} instead of a literal"
    return said, f"add: {value} a {asked.type} . Or refer to something that is one"


def _count(asked: Count, finding: Finding) -> tuple[str, str]:
    bound, number = asked.bound, finding.count
    if asked.at_least:
        said = f"{_at(finding)} must have at least {_values(bound)}; it has {number}"
        return said, f"add {_more(bound - number)} of {_at(finding)}"
    # How many there are is not counted to the end.
    said = f"{_at(finding)} must have at most {_values(bound)}"
    do = f"keep at most {_values(bound)} of {_at(finding)}"
    return said, f"{do}: remove the others in the same proposal"


def _unique_languages(_asked: UniqueLanguages, finding: Finding) -> tuple[str, str]:
    said = f"{_at(finding)} has more than one text in the same language"
    return said, "keep one text for each language"


def _has_value(asked: HasValue, finding: Finding) -> tuple[str, str]:
    said = f"{_at(finding)} must have the value {_shown(asked.value)}"
    return said, f"add {_shown(asked.value)} to {_at(finding)}"


def _compared(asked: Compared, finding: Finding) -> tuple[str, str]:
    words = {
        "equals": "be a value of both, or of neither of",
        "disjoint": "not be a value of both",
        "lessThan": "be less than every value of",
        "lessThanOrEquals": "be at most every value of",
    }[_local(asked)]
    mine = "" if _local(asked).startswith("less") else f"{_at(finding)} and "
    said = f"{_shown(finding.value)} must {words} {mine}{asked.predicate}"
    return said, f"change the values of {_at(finding)} or of {asked.predicate} so that it does"


def _combined(asked: Combined, finding: Finding) -> tuple[str, str]:
    value = _shown(finding.value)
    names = ", ".join(str(shape.node) for shape in asked.shapes[:5])
    kind = _local(asked)
    if kind == "node":
        return f"{value} must conform to {names}", f"make {value} conform to {names}"
    if kind == "not":
        return f"{value} must not conform to {names}", f"change what makes {value} conform to it"
    if kind == "and":
        return f"{value} must conform to all of {names}", f"make {value} conform to each of them"
    if kind == "or":
        return f"{value} must conform to one of {names}", f"make {value} conform to any of them"
    held = f"; it conforms to {finding.count}"
    return (
        f"{value} must conform to exactly one of {names}{held}",
        f"make {value} conform to exactly one of them",
    )


def _qualified(asked: Qualified, finding: Finding) -> tuple[str, str]:
    bound = "at least" if asked.at_least else "at most"
    said = (
        f"{_at(finding)} must have {bound} {_values(asked.bound)} that conform to"
        f" {asked.shape.node}; it has {finding.count}"
    )
    do = "add" if asked.at_least else "remove"
    return said, f"{do} values of {_at(finding)} that conform to {asked.shape.node}"


def _closed(_asked: Closed, finding: Finding) -> tuple[str, str]:
    said = f"{finding.path} is not among the predicates that {finding.shape.node} allows"
    return said, f"remove it, or propose that {finding.shape.node} allows {finding.path}"


def _query(asked: Query, finding: Finding) -> tuple[str, str]:
    shown = _shown(finding.focus if finding.value is None else finding.value)
    if asked.label is not None:
        said = _filled(Literal(asked.label), finding).value
    elif asked.template.ask:
        said = f"{shown} must be what {asked.source} asks for"
    else:
        said = f"{asked.source} finds {shown}"
    return said, f"read the query of {asked.source} to see what would change its answer"


_WORDS: dict[type[Constraint], Callable[[Any, Finding], tuple[str, str]]] = {
    ValueTest: _value_test,
    InstanceOf: _instance_of,
    Count: _count,
    UniqueLanguages: _unique_languages,
    HasValue: _has_value,
    Compared: _compared,
    Combined: _combined,
    Qualified: _qualified,
    Closed: _closed,
    Query: _query,
}
