"""The errors of the ontology floor.

::

    OntologyError
    ├── TermError              an RDF term or delta that the graph does not take
    │   ├── IllTypedLiteral    a lexical form outside its datatype's lexical space
    │   ├── UnsupportedTerm    a triple term, a directional string, a quad without a named graph
    │   └── LimitExceeded      an IRI or a literal that is too long
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
