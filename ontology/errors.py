"""The errors of the ontology floor.

::

    OntologyError
    ├── TermError              an RDF term or delta that the graph does not take
    │   ├── IllTypedLiteral    a lexical form outside its datatype's lexical space
    │   ├── UnsupportedTerm    a triple term, a directional string, a quad without a named graph
    │   └── LimitExceeded      an IRI or a literal that is too long
    ├── SparqlError            a SPARQL text that is not run
    │   ├── SparqlSyntaxError  it is not SPARQL, or not the part of it that is taken here
    │   ├── UpdateRefused      it is an update where a query belongs
    │   └── ServiceRefused     it wants another endpoint asked
    ├── SnapshotError          there is no snapshot to read this head from
    ├── StoreError             the graph store cannot be opened, read or written
    └── ReasonerError          the OWL reasoner could not give a verdict
        ├── JavaMissing        there is no Java to run it with
        └── ReasonerInputError what it was handed is not RDF

An inconsistent ontology is a verdict, not an error: it comes back in a report.
"""

from __future__ import annotations


class OntologyError(Exception):
    """Anything this floor refuses or cannot do; the message says what to do next."""


class ReasonerError(OntologyError):
    """The reasoner gave no verdict, so nothing is known about consistency."""


class JavaMissing(ReasonerError):
    """HermiT runs on Java and none was found."""


class ReasonerInputError(ReasonerError):
    """A document handed to the reasoner is not RDF."""


class TermError(OntologyError):
    """An RDF term that the graph does not take; mend the submission."""


class IllTypedLiteral(TermError):
    """A literal whose lexical form its datatype does not have."""


class UnsupportedTerm(TermError):
    """A term of RDF 1.2, or a quad without a named graph."""


class LimitExceeded(TermError):
    """An IRI or a literal longer than the graph keeps."""


class StoreError(OntologyError):
    """The graph store cannot be opened, read or written."""


class SparqlError(OntologyError):
    """A SPARQL text that is not run; ``line`` and ``column`` (from 1) say where the reason is."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column
        self.message = message


class SparqlSyntaxError(SparqlError):
    """The text does not parse, or is not of the part of SPARQL that is taken here."""


class UpdateRefused(SparqlError):
    """An update where a query belongs; changes go through proposals."""

    def __init__(self, line: int, column: int, keyword: str) -> None:
        super().__init__(line, column, f"{keyword} is an update, and this is a query endpoint")


class ServiceRefused(SparqlError):
    """A federated query: this endpoint asks no other one."""

    def __init__(self, line: int, column: int) -> None:
        super().__init__(
            line,
            column,
            "SERVICE is refused: queries here have no network; ask that endpoint itself",
        )


class SnapshotError(OntologyError):
    """No snapshot holds, or can be made to hold, the head that was asked for."""
