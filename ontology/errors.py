"""The errors of the ontology floor.

::

    OntologyError
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
