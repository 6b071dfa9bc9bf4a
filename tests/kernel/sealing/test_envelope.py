"""Sealed blobs and sealed fields: they open in their place, with their key, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.sealing import commitment, envelope
from thane.kernel.sealing.envelope import SubjectKey
from thane.kernel.sealing.errors import Erased, KeyMissing, SealedCorrupt

KEY = SubjectKey("usr_1", b"k" * 16, bytes(range(32)))
NEW_KEY = SubjectKey("usr_1", b"n" * 16, bytes(reversed(range(32))))
KEYS = {KEY.key_id: KEY, NEW_KEY.key_id: NEW_KEY}
AAD = b"users/phone/usr_1"


@given(st.binary(max_size=600), st.binary(max_size=40))
def test_what_was_sealed_opens_again(plaintext: bytes, aad: bytes) -> None:
    blob = envelope.seal(KEY, plaintext, aad)
    assert len(blob) == len(plaintext) + envelope.OVERHEAD_BYTES
    assert envelope.open_sealed(KEYS, blob, aad) == plaintext


def test_a_blob_has_the_layout_of_the_docs() -> None:
    blob = envelope.seal(KEY, b"hello", AAD)
    assert blob[:17] == b"\x01" + KEY.key_id
    assert AESGCM(KEY.secret).decrypt(blob[17:29], blob[29:], b"\x01" + KEY.key_id + AAD) == b"hello"
    assert envelope.sealed_key_id(blob) == KEY.key_id


def test_two_seals_of_one_value_share_nothing() -> None:
    nonces = {envelope.seal(KEY, b"hello", AAD)[17:29] for _ in range(100)}
    assert len(nonces) == 100


@given(st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    blob = bytearray(envelope.seal(KEY, b"hello", AAD))
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises((SealedCorrupt, KeyMissing)):
        envelope.open_sealed(KEYS, bytes(blob), AAD)


def test_a_blob_cannot_move_to_another_place_key_or_length() -> None:
    blob = envelope.seal(KEY, b"hello", AAD)
    with pytest.raises(SealedCorrupt, match="usr_1"):
        envelope.open_sealed(KEYS, blob, b"users/phone/usr_2")
    with pytest.raises(SealedCorrupt):
        envelope.open_sealed(KEYS, blob[:1] + NEW_KEY.key_id + blob[17:], AAD)
    same_secret = SubjectKey("usr_1", b"s" * 16, KEY.secret)
    with pytest.raises(SealedCorrupt):
        envelope.open_sealed({b"s" * 16: same_secret}, blob[:1] + b"s" * 16 + blob[17:], AAD)
    for length in (0, 1, envelope.OVERHEAD_BYTES - 1):
        with pytest.raises(SealedCorrupt, match="too few"):
            envelope.open_sealed(KEYS, blob[:length], AAD)
    with pytest.raises(SealedCorrupt, match="format 2"):
        envelope.open_sealed(KEYS, b"\x02" + blob[1:], AAD)


def test_a_missing_key_is_named_and_an_erased_one_is_told_apart() -> None:
    blob = envelope.seal(KEY, b"hello", AAD)
    with pytest.raises(KeyMissing, match=KEY.key_id.hex()):
        envelope.open_sealed({}, blob, AAD)

    class Destroyed:
        def __getitem__(self, key_id: bytes, /) -> SubjectKey:
            raise Erased(f"the key {key_id.hex()} was destroyed")

    with pytest.raises(Erased):
        envelope.open_sealed(Destroyed(), blob, AAD)


def test_a_subject_key_keeps_its_secret_to_itself() -> None:
    key = SubjectKey.new("usr_1")
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret)[2:-1] not in repr(key)
    assert key.key_id.hex() in repr(key)
    assert key != SubjectKey.new("usr_1") != "key"
    assert {key: 1}[SubjectKey("usr_1", key.key_id, key.secret)] == 1
    for key_id, secret in ((b"k" * 15, b"s" * 32), (b"k" * 16, b"s" * 31)):
        with pytest.raises(ValueError):
            SubjectKey("usr_1", key_id, secret)


@given(st.binary(max_size=100))
def test_a_sealed_field_opens_and_commits_to_its_value(plaintext: bytes) -> None:
    value = commitment.seal_field(KEY, plaintext, AAD)
    assert commitment.open_field(KEYS, value, AAD) == plaintext
    opened = envelope.open_sealed(KEYS, value[32:], AAD)
    assert opened[32:] == plaintext
    expected = hmac.new(opened[:32], plaintext, hashlib.sha256).digest()
    assert commitment.commitment_of(value) == value[:32] == expected


def test_commitments_of_one_value_cannot_be_matched() -> None:
    assert len({commitment.commitment_of(commitment.seal_field(KEY, b"+49", AAD)) for _ in range(50)}) == 50


def test_a_field_under_a_new_key_keeps_its_commitment() -> None:
    value = commitment.seal_field(KEY, b"secret", AAD)
    moved = commitment.reseal_field(KEYS, NEW_KEY, value, AAD)
    assert commitment.commitment_of(moved) == commitment.commitment_of(value)
    assert commitment.open_field({NEW_KEY.key_id: NEW_KEY}, moved, AAD) == b"secret"


def test_a_blanked_field_keeps_its_commitment_and_nothing_else() -> None:
    value = commitment.seal_field(KEY, b"secret", AAD)
    blank = commitment.blank_field(value)
    assert blank == commitment.commitment_of(blank) == commitment.blank_field(blank) == value[:32]
    with pytest.raises(Erased):
        commitment.open_field(KEYS, blank, AAD)


def test_a_field_that_does_not_agree_with_its_commitment_is_refused() -> None:
    value = commitment.seal_field(KEY, b"secret", AAD)
    other = commitment.seal_field(KEY, b"other", AAD)
    with pytest.raises(SealedCorrupt, match="commitment"):
        commitment.open_field(KEYS, other[:32] + value[32:], AAD)
    for length in (0, 31, 33, 100):
        with pytest.raises(SealedCorrupt, match="no sealed field"):
            commitment.open_field(KEYS, value[:length], AAD)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_has_one_length(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        commitment.commit(b"x" * length, b"value")
