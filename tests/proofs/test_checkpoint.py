"""Notes, checkpoints and cosignatures: the published vectors, and nothing but one spelling."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import (
    COSIGNATURE_V1,
    Checkpoint,
    Note,
    NoteSignature,
    SignerKey,
    VerifierKey,
    add_cosignature,
    cosign,
    cosigners,
    open_checkpoint,
    parse_note,
    sign_checkpoint,
    sign_note,
)
from proofs.errors import (
    FormatError,
    InvalidMerkleProof,
    InvalidSignature,
    MalformedCheckpoint,
    MalformedKey,
    MalformedNote,
    ProofError,
)
from proofs.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    leaf_hash,
    nodes_of,
    root_from_hashes,
    verify_consistency,
)

# The example of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnW"
    "Lox33WWd1RvMc+QQ=\n"
)

# The example checkpoint of c2sp.org/tlog-cosignature, with its log signature and cosignature.
SOFA_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
    "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
    "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)

LOG = SignerKey("log.example/shop", bytes(range(32)))
OTHER_LOG = SignerKey("other.example/log", bytes(range(1, 33)))
WITNESS = SignerKey("witness.example/w1", bytes(range(2, 34)), COSIGNATURE_V1)
OTHER_WITNESS = SignerKey("witness.example/w2", bytes(range(3, 35)), COSIGNATURE_V1)


def checkpoint(size: int = 3, origin: str = LOG.name) -> Checkpoint:
    root = root_from_hashes(leaf_hash(str(number).encode()) for number in range(size))
    return Checkpoint(origin, size, root)


class TestNotes:
    def test_the_published_note_verifies(self) -> None:
        note = parse_note(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}")
        key = VerifierKey.parse(PETER)
        assert note.text == TEXT
        assert note.verified([key]) == [key]
        assert str(note) == f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}"
        assert [item.name for item in note.signatures] == ["PeterNeumann", "EnochRoot"]

    def test_the_published_private_key_signs_the_published_note(self) -> None:
        assert sign_note(TEXT, [SignerKey.parse(PETER_PRIVATE)]) == f"{TEXT}\n{PETER_LINE}"

    def test_the_published_checkpoint_parses(self) -> None:
        note = parse_note(SOFA_NOTE)
        parsed = Checkpoint.parse(note.text)
        assert parsed.origin == "example.com/behind-the-sofa"
        assert parsed.size == 20852163
        assert parsed.text() == note.text
        assert [item.timestamp for item in note.signatures] == [None, 1679315147]

    def test_unknown_signatures_are_ignored(self) -> None:
        assert parse_note(f"{TEXT}\n{ENOCH_LINE}").verified([VerifierKey.parse(PETER)]) == []

    def test_a_known_key_that_fails_refuses_the_note(self) -> None:
        note = parse_note(f"{TEXT.upper()}\n{PETER_LINE}")
        with pytest.raises(InvalidSignature, match="PeterNeumann"):
            note.verified([VerifierKey.parse(PETER)])

    @pytest.mark.parametrize(
        "data",
        [
            "",
            "\n",
            TEXT,
            TEXT + "\n",
            f"{TEXT}\n{PETER_LINE[:-1]}",
            f"{TEXT}{PETER_LINE}",
            f"{TEXT}\n{PETER_LINE}\n",
            f"{TEXT}\n{PETER_LINE}x\n",
            f"{TEXT}\n-{PETER_LINE[1:]}",
            f"{TEXT}\n\u2014  {PETER_LINE[2:]}",
            f"{TEXT}\n{PETER_LINE}".replace(" x08g", "  x08g"),
            f"{TEXT}\n{PETER_LINE}".replace(" x08g", "+x08g"),
            f"{TEXT}\n{PETER_LINE}".replace("AM=", "AN="),
            f"{TEXT}\n{PETER_LINE}".replace("AM=", "AM"),
            f"{TEXT}\n{PETER_LINE}".replace("AM=", "A-="),
            f"{TEXT}\n{PETER_LINE}".replace("Neumann ", "\u00a0Neumann "),
            f"{TEXT}\n\u2014 PeterNeumann x08gow==\n",
            f"{TEXT}\n\u2014 PeterNeumann\n",
            f"{TEXT}\n\u2014  x08goww=\n",
            f"tab\t\n\n{PETER_LINE}",
            f"return\r\n\n{PETER_LINE}",
            f"{TEXT}\n" + PETER_LINE * 101,
            b"\xff\n\n" + PETER_LINE.encode(),
            "\ud800\n\n" + PETER_LINE,
        ],
        ids=repr,
    )
    def test_malformed_notes_are_refused(self, data: str | bytes) -> None:
        with pytest.raises(MalformedNote):
            parse_note(data)

    def test_a_text_with_empty_lines_is_split_at_the_last_one(self) -> None:
        text = "first\n\nsecond\n"
        assert parse_note(sign_note(text, [LOG])).text == text

    def test_only_a_text_that_ends_its_line_is_signed(self) -> None:
        with pytest.raises(MalformedNote, match="newline"):
            sign_note("no end", [LOG])
        with pytest.raises(MalformedNote):
            sign_note("a\tb\n", [LOG])
        with pytest.raises(MalformedKey, match="cosigns"):
            sign_note(TEXT, [WITNESS])

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_else(self, data: bytes) -> None:
        try:
            note = parse_note(data)
        except MalformedNote:
            return
        assert str(note).encode() == data

    @given(st.data())
    def test_any_changed_byte_of_a_signed_note_shows(self, data: st.DataObject) -> None:
        signed = sign_note(TEXT, [LOG]).encode()
        at = data.draw(st.integers(0, len(signed) - 1))
        flip = data.draw(st.integers(1, 255))
        changed = signed[:at] + bytes([signed[at] ^ flip]) + signed[at + 1 :]
        try:
            signers = parse_note(changed).verified([LOG.verifier])
        except ProofError:
            return
        assert signers == []


class TestKeys:
    def test_a_key_round_trips(self) -> None:
        key = VerifierKey.parse(PETER)
        assert str(key) == PETER
        assert key.label == "PeterNeumann+c74f20a3"
        assert SignerKey.parse(PETER_PRIVATE).verifier == key
        assert SignerKey.parse(PETER_PRIVATE).export() == PETER_PRIVATE
        assert VerifierKey.parse(str(WITNESS.verifier)) == WITNESS.verifier

    def test_fresh_keys_differ(self) -> None:
        first, second = SignerKey.generate("log"), SignerKey.generate("log")
        assert first.verifier != second.verifier
        assert SignerKey.parse(first.export()) == first

    def test_one_key_as_log_and_as_witness_has_two_ids(self) -> None:
        witness = SignerKey(LOG.name, LOG.seed, COSIGNATURE_V1)
        assert witness.verifier.key_id != LOG.verifier.key_id

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            PETER.replace("c74f20a3", "c74f20a4"),
            PETER.replace("c74f20a3", "C74F20A3"),
            PETER.replace("c74f20a3", "c74f20a"),
            PETER.replace("PeterNeumann", "Peter Neumann"),
            PETER.replace("PeterNeumann", ""),
            PETER.replace("PeterNeumann", "Petra"),
            PETER[:-1],
            PETER + "=",
            PETER + "AAAA",
            PETER.replace("ARpc", "Ahpc"),
            PETER + "\n",
        ],
    )
    def test_malformed_verifier_keys_are_refused(self, text: str) -> None:
        with pytest.raises(MalformedKey):
            VerifierKey.parse(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            PETER,
            PETER_PRIVATE.replace("PRIVATE", "PUBLIC"),
            PETER_PRIVATE.replace("c74f20a3", "c74f20a4"),
            PETER_PRIVATE[:-4],
            PETER_PRIVATE.replace("+AYEK", "+CYEK"),
        ],
    )
    def test_malformed_signer_keys_are_refused_without_repeating_them(self, text: str) -> None:
        with pytest.raises(MalformedKey) as caught:
            SignerKey.parse(text)
        assert "AYEKFALVFGyN" not in str(caught.value)
        assert "EKFALVFGyN" not in repr(caught.value)

    def test_the_private_key_never_shows(self) -> None:
        assert base64.b64encode(LOG.seed).decode() not in repr(LOG)
        assert "seed" not in repr(LOG)

    def test_signatures_of_another_length_never_verify(self) -> None:
        for size in (0, 63, 65, 72):
            assert not LOG.verifier.verify_raw(b"x", bytes(size))
            assert not WITNESS.verifier.verify_text("x\n", bytes(size))


class TestCheckpoints:
    def test_a_signed_checkpoint_opens(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        assert open_checkpoint(note, LOG.verifier) == checkpoint()
        assert open_checkpoint(note.encode(), LOG.verifier) == checkpoint()

    def test_signing_is_deterministic(self) -> None:
        assert sign_checkpoint(checkpoint(), LOG) == sign_checkpoint(checkpoint(), LOG)

    def test_extension_lines_are_kept(self) -> None:
        extended = Checkpoint(LOG.name, 0, EMPTY_ROOT, ("one", "two words"))
        assert open_checkpoint(sign_checkpoint(extended, LOG), LOG.verifier) == extended

    def test_another_logs_key_does_not_open_it(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        with pytest.raises(InvalidSignature, match="no signature"):
            open_checkpoint(note, OTHER_LOG.verifier)

    def test_a_key_speaks_for_its_own_origin_only(self) -> None:
        with pytest.raises(MalformedCheckpoint, match="own origin"):
            sign_checkpoint(checkpoint(origin=OTHER_LOG.name), LOG)
        note = sign_note(checkpoint(origin=OTHER_LOG.name).text(), [LOG])
        with pytest.raises(InvalidSignature, match="origin"):
            open_checkpoint(note, LOG.verifier)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n\n\n",
            "log\n3\n",
            "log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            "\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n03\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n-3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n+3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n3 \nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n\u0663\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n9223372036854775808\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n99999999999999999999\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
            "log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2\n",
            "log\n3\nAAAA\n",
            "log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n",
        ],
        ids=repr,
    )
    def test_malformed_checkpoints_are_refused(self, text: str) -> None:
        with pytest.raises(MalformedCheckpoint):
            Checkpoint.parse(text)

    def test_the_largest_size_is_read(self) -> None:
        head = Checkpoint("log", 2**63 - 1, EMPTY_ROOT)
        assert Checkpoint.parse(head.text()) == head

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Checkpoint("log", -1, EMPTY_ROOT),
            lambda: Checkpoint("log", 1, b"short"),
            lambda: Checkpoint("", 1, EMPTY_ROOT),
            lambda: Checkpoint("two\nlines", 1, EMPTY_ROOT),
            lambda: Checkpoint("log", 1, EMPTY_ROOT, ("",)),
        ],
    )
    def test_impossible_checkpoints_are_refused(self, make: Callable[[], Checkpoint]) -> None:
        with pytest.raises(FormatError):
            make()


class TestCosignatures:
    def test_a_cosignature_verifies_and_carries_its_time(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        line = cosign(note, WITNESS, 1679315147)
        witnesses = [WITNESS.verifier, OTHER_WITNESS.verifier]
        cosigned = add_cosignature(note, line, witnesses)
        assert cosigned == note + line
        assert cosigners(parse_note(cosigned), witnesses) == [(WITNESS.verifier, 1679315147)]
        assert open_checkpoint(cosigned, LOG.verifier) == checkpoint()

    def test_the_signed_message_is_that_of_the_specification(self) -> None:
        text = checkpoint().text()
        line = cosign(sign_checkpoint(checkpoint(), LOG), WITNESS, 1679315147)
        signature = NoteSignature.parse(line.rstrip("\n")).signature
        assert signature[:8] == (1679315147).to_bytes(8, "big")
        message = f"cosignature/v1\ntime 1679315147\n{text}".encode()
        assert WITNESS.verifier.verify_raw(message, signature[8:])

    def test_several_witnesses_stand_side_by_side(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        witnesses = [WITNESS.verifier, OTHER_WITNESS.verifier]
        for signer, time in ((WITNESS, 10), (OTHER_WITNESS, 20)):
            note = add_cosignature(note, cosign(note, signer, time), witnesses)
        assert cosigners(parse_note(note), witnesses) == list(zip(witnesses, (10, 20), strict=True))
        assert cosigners(parse_note(note), witnesses[1:]) == [(witnesses[1], 20)]
        assert cosigners(parse_note(note), []) == []

    def test_a_younger_cosignature_replaces_an_older_one(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        keys = [WITNESS.verifier]
        first = add_cosignature(note, cosign(note, WITNESS, 10), keys)
        second = add_cosignature(first, cosign(note, WITNESS, 20), keys)
        assert cosigners(parse_note(second), keys) == [(WITNESS.verifier, 20)]
        assert len(parse_note(second).signatures) == 2
        assert add_cosignature(second, cosign(note, WITNESS, 10), keys) == second
        assert add_cosignature(second, cosign(note, WITNESS, 20), keys) == second

    def test_a_cosignature_of_another_checkpoint_is_refused(self) -> None:
        note = sign_checkpoint(checkpoint(3), LOG)
        line = cosign(sign_checkpoint(checkpoint(4), LOG), WITNESS, 10)
        with pytest.raises(InvalidSignature, match="does not fit"):
            add_cosignature(note, line, [WITNESS.verifier])

    def test_a_moved_time_is_refused(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        signature = NoteSignature.parse(cosign(note, WITNESS, 10).rstrip("\n"))
        moved = NoteSignature(
            signature.name,
            signature.key_id,
            (11).to_bytes(8, "big") + signature.signature[8:],
        )
        with pytest.raises(InvalidSignature):
            add_cosignature(note, moved.line(), [WITNESS.verifier])
        with pytest.raises(InvalidSignature):
            cosigners(parse_note(note + moved.line()), [WITNESS.verifier])

    def test_a_stranger_does_not_count(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        line = cosign(note, OTHER_WITNESS, 10)
        with pytest.raises(InvalidSignature, match="no configured witness"):
            add_cosignature(note, line, [WITNESS.verifier])
        assert cosigners(parse_note(note + line), [WITNESS.verifier]) == []

    def test_the_log_is_not_its_own_witness(self) -> None:
        note = sign_checkpoint(checkpoint(), LOG)
        assert cosigners(parse_note(note), [LOG.verifier]) == []
        line = parse_note(note).signatures[0].line()
        with pytest.raises(InvalidSignature):
            add_cosignature(note, line, [LOG.verifier])

    def test_only_a_witness_key_cosigns_and_only_checkpoints(self) -> None:
        with pytest.raises(MalformedKey, match="witness"):
            cosign(sign_checkpoint(checkpoint(), LOG), LOG, 10)
        with pytest.raises(MalformedCheckpoint):
            cosign(sign_note(TEXT, [LOG]), WITNESS, 10)
        for time in (-1, 2**63):
            with pytest.raises(MalformedNote, match="POSIX"):
                cosign(sign_checkpoint(checkpoint(), LOG), WITNESS, time)

    def test_a_time_beyond_the_specification_never_verifies(self) -> None:
        note = parse_note(sign_checkpoint(checkpoint(), LOG))
        message = f"cosignature/v1\ntime {2**63}\n{note.text}".encode()
        signed = (2**63).to_bytes(8, "big") + WITNESS.sign_raw(message)
        line = NoteSignature(WITNESS.name, WITNESS.verifier.key_id, signed)
        forged = Note(note.text, (*note.signatures, line))
        with pytest.raises(InvalidSignature):
            cosigners(forged, [WITNESS.verifier])


class WatchingWitness:
    """A witness as c2sp.org/tlog-witness describes it: it never cosigns two histories."""

    def __init__(self, signer: SignerKey, log_key: VerifierKey) -> None:
        self._signer = signer
        self._log_key = log_key
        self._seen = Checkpoint(log_key.name, 0, EMPTY_ROOT)

    def add_checkpoint(self, old: int, proof: list[bytes], note: str, time: int) -> str:
        head = open_checkpoint(note, self._log_key)
        if old != self._seen.size:
            raise InvalidMerkleProof(f"409: the last cosigned size is {self._seen.size}")
        verify_consistency(old, head.size, proof, self._seen.root, head.root)
        self._seen = head
        return cosign(note, self._signer, time)


def test_a_witness_follows_one_history_only() -> None:
    hashes = [leaf_hash(str(number).encode()) for number in range(8)]
    node = nodes_of(hashes.__getitem__)
    witness = WatchingWitness(WITNESS, LOG.verifier)
    seen = 0
    for size in (1, 3, 3, 8):
        note = sign_checkpoint(checkpoint(size), LOG)
        line = witness.add_checkpoint(seen, consistency_proof(seen, size, node), note, size)
        cosigned = add_cosignature(note, line, [WITNESS.verifier])
        assert cosigners(parse_note(cosigned), [WITNESS.verifier]) == [(WITNESS.verifier, size)]
        seen = size
    forked_hashes = [*hashes[:7], leaf_hash(b"another"), leaf_hash(b"history")]
    forked = Checkpoint(LOG.name, 9, root_from_hashes(forked_hashes))
    proof = consistency_proof(8, 9, nodes_of(forked_hashes.__getitem__))
    with pytest.raises(InvalidMerkleProof):
        witness.add_checkpoint(8, proof, sign_checkpoint(forked, LOG), 9)
    with pytest.raises(InvalidMerkleProof, match="409"):
        witness.add_checkpoint(3, proof, sign_checkpoint(forked, LOG), 9)
