"""SHACL's vocabulary as the reader of shapes needs it: its properties, and what each family of
parameters stands for.

Specification: https://www.w3.org/TR/shacl/#core-components
"""

from __future__ import annotations

from collections.abc import Callable

from ontology.vocab import Sh
from shapes import value_tests as tests
from shapes.paths import Inverse, Optional, Path, Repeated
from shapes.view import Node

SH = "http://www.w3.org/ns/shacl#"

# Every property of the SHACL and SHACL-SPARQL vocabularies.
TERMS = frozenset(
    SH + name
    for name in (
        *("targetClass", "targetNode", "targetObjectsOf", "targetSubjectsOf", "target"),
        *("message", "severity", "deactivated", "property", "path", "and", "or", "not", "xone"),
        *("alternativePath", "inversePath", "oneOrMorePath", "zeroOrMorePath", "zeroOrOnePath"),
        *("class", "datatype", "nodeKind", "minCount", "maxCount", "in", "hasValue", "closed"),
        *("minExclusive", "minInclusive", "maxExclusive", "maxInclusive", "ignoredProperties"),
        *("minLength", "maxLength", "pattern", "flags", "languageIn", "uniqueLang", "equals"),
        *("disjoint", "lessThan", "lessThanOrEquals", "node", "qualifiedValueShape"),
        *("qualifiedValueShapesDisjoint", "qualifiedMinCount", "qualifiedMaxCount"),
        *("name", "description", "order", "group", "defaultValue", "shapesGraph", "entailment"),
        *("suggestedShapesGraph", "shapesGraphWellFormed"),
        *("sparql", "select", "ask", "prefixes", "declare", "prefix", "namespace", "parameter"),
        *("optional", "validator", "nodeValidator", "propertyValidator", "labelTemplate"),
        *("annotationProperty", "annotationValue", "annotationVarName", "resultAnnotation"),
        *("construct", "update", "js", "rule", "expression", "condition", "nodes", "intersection"),
        *("union", "filterShape", "this", "subject", "predicate", "object", "returnType"),
        *("conforms", "result", "detail", "focusNode", "resultMessage", "resultPath"),
        *(
            "resultSeverity",
            "sourceConstraint",
            "sourceConstraintComponent",
            "sourceShape",
            "value",
        ),
    )
)
KIND_WORDS = {
    Sh.IRI: "an IRI",
    Sh.BlankNode: "a blank node",
    Sh.Literal: "a literal",
    Sh.BlankNodeOrIRI: "an IRI or a blank node",
    Sh.BlankNodeOrLiteral: "a literal or a blank node",
    Sh.IRIOrLiteral: "an IRI or a literal",
}
RANGES: dict[str, tuple[str, Callable[[Node], tests.Test], str]] = {
    Sh.minExclusive: ("MinExclusive", tests.more_than, "more than"),
    Sh.minInclusive: ("MinInclusive", tests.no_less_than, "at least"),
    Sh.maxExclusive: ("MaxExclusive", tests.less_than, "less than"),
    Sh.maxInclusive: ("MaxInclusive", tests.no_more_than, "at most"),
}
PATHS: dict[str, Callable[[Path], Path]] = {
    Sh.inversePath: Inverse,
    Sh.zeroOrMorePath: Repeated,
    Sh.oneOrMorePath: lambda path: Repeated(path, True),
    Sh.zeroOrOnePath: Optional,
}
