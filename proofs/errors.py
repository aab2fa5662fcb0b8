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
    └── TileError                 the folder of tiles
        ├── TileConflict          a written file would have to change
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


class TileMissing(TileError):
    """A tile or entry bundle that the tree needs is not there, or is shorter than its width."""
