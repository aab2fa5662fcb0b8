"""The error tree of the proof floor.

Every error says what was wrong and what to do next; a caller that wants one net catches
:class:`ProofError`.

::

    ProofError
    ├── FormatError               bytes that break a published format
    │   ├── MalformedKey
    │   ├── MalformedNote
    │   ├── MalformedCheckpoint
    │   ├── MalformedStatement
    │   └── MalformedBundle
    ├── VerificationError         well formed, but it does not verify
    │   ├── InvalidSignature
    │   └── InvalidMerkleProof
    ├── LeafTooLarge              an entry that the log's tile format can't carry
    ├── JournalError              the truth can't be read or written
    │   ├── JournalCorrupt        bytes that are not what was written
    │   ├── JournalTooNew         written by a newer version
    │   ├── JournalMissing        no such entry, blob or checkpoint
    │   ├── JournalFull           no room on the disk; nothing was written
    │   └── JournalBroken         unknown whether it was written; the process must end
    ├── IndexFailed               the index can't be read or written; it is only a projection
    ├── LogForked                 the journal and what was published of it contradict each other
    ├── GateError                 a submission the gate does not take
    │   ├── BadSubmission         unparsable, too large, or not a delta
    │   ├── SignatureRefused      its author's signature is not of this, or by no key that holds
    │   ├── Forbidden             the principal may not do this
    │   ├── UnknownProject
    │   ├── UnknownGraph
    │   ├── UnknownProposal
    │   ├── WrongState            the proposal is past the point where this could be done
    │   ├── Conflict              what it was drafted on has changed
    │   ├── SignerFailed          the log's key is elsewhere and doesn't sign; nothing was written
    │   ├── Invalid               the shapes refuse it; carries the recorded proposal
    │   └── WritingStopped        the graph store failed; nothing is written until it is mended
    └── TileError                 the folder of tiles
        ├── TileConflict          a written file would have to change
        │   └── FolderAhead       the folder holds more entries than the log: a second history
        └── TileMissing           a file that the tree needs is not there, or is cut short
"""

from __future__ import annotations


class ProofError(Exception):
    """Root of every error that this floor raises on purpose."""


class FormatError(ProofError):
    """Bytes that break a published format; the message names the place."""


class MalformedKey(FormatError):
    """A note verifier key or signer key that can't be read."""


class MalformedNote(FormatError):
    """A signed note whose text or signature lines break the format."""


class MalformedCheckpoint(FormatError):
    """A note whose text is not a checkpoint."""


class MalformedStatement(FormatError):
    """A DSSE envelope, in-toto statement or delta line that breaks its format."""


class MalformedBundle(FormatError):
    """A proof bundle that breaks its format."""


class VerificationError(ProofError):
    """Well formed, but it does not verify."""


class InvalidSignature(VerificationError):
    """A signature of a known key that fails, or no signature of a known key at all."""


class InvalidMerkleProof(VerificationError):
    """An inclusion or consistency proof that does not lead to the expected root."""


class LeafTooLarge(ProofError):
    """An entry above 65,535 bytes: the uint16 length prefix of an entry bundle can't hold it."""


class TileError(ProofError):
    """A problem with the folder of tiles."""


class TileConflict(TileError):
    """A file that is already written differs from what the log says it must hold."""


class FolderAhead(TileConflict):
    """The folder holds more entries than the log: an older journal was restored over it."""


class TileMissing(TileError):
    """A tile or entry bundle that the tree needs is not there, or is shorter than its width."""


class JournalError(ProofError):
    """The journal can't be read or written."""


class JournalCorrupt(JournalError):
    """Bytes of the journal that are not what was written."""


class JournalTooNew(JournalError):
    """A journal that a newer version wrote."""


class JournalMissing(JournalError):
    """An entry, a blob or a checkpoint that the journal does not hold."""


class JournalFull(JournalError):
    """The disk has no room; nothing was written."""


class JournalBroken(JournalError):
    """It is unknown whether the entry was written; the process must end."""


class IndexFailed(ProofError):
    """The index of proposals can't be read or written; it is rebuilt from the journal."""


class LogForked(ProofError):
    """The journal and what was published of it contradict each other."""


class GateError(ProofError):
    """A submission, or a decision on one, that the gate does not take."""


class BadSubmission(GateError):
    """Not a delta: unparsable, too large or of a form the gate refuses.

    ``line`` and ``column`` start at 1 and are ``None`` where they make no sense.
    """

    def __init__(
        self, message: str, kind: str, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.column = column


class SignatureRefused(GateError):
    """A proposal came signed, and the signature is not one of this proposal by its author."""


class Forbidden(GateError):
    """The principal may not do this."""


class UnknownProject(GateError):
    """No project has this slug."""


class UnknownGraph(GateError):
    """No graph that proposals may write has this name."""


class UnknownProposal(GateError):
    """No proposal has this identifier."""


class WrongState(GateError):
    """The proposal is past the point where this could be done."""


class Conflict(GateError):
    """The proposal was drafted on a head whose nodes have changed since.

    ``theirs`` and ``yours`` are RDF Patch texts.
    """

    def __init__(self, message: str, theirs: str, yours: str) -> None:
        super().__init__(message)
        self.theirs = theirs
        self.yours = yours


class Invalid(GateError):
    """The shapes refuse the proposal; ``proposal`` is its identifier, recorded with the report."""

    def __init__(self, message: str, proposal: str) -> None:
        super().__init__(message)
        self.proposal = proposal


class SignerFailed(GateError):
    """The log's key is in a service that doesn't sign now; nothing was written."""


class WritingStopped(GateError):
    """Graph store or index did not take a committed entry; writing waits until it is mended."""
