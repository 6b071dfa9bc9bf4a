"""Tokens and blind indexes."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.sealing import hashing
from thane.kernel.sealing.blind_index import MARK_BYTES, blind_index, folded
from thane.kernel.sealing.errors import TokenMalformed

KEY = bytes(range(32))


def test_a_token_is_read_back_with_its_prefix() -> None:
    text = hashing.new_token("key")
    assert re.fullmatch(r"thane_key_[0-9A-Za-z]{38}", text)
    assert hashing.parse_token(text) == ("key", text)
    assert hashing.token_hash(text) == hashlib.sha256(text.encode()).digest()


def test_tokens_are_random_over_the_whole_alphabet() -> None:
    tokens = [hashing.new_token("key") for _ in range(300)]
    assert len(set(tokens)) == 300
    assert len({character for token in tokens for character in token[10:42]}) == 62


@given(st.data())
def test_any_one_wrong_character_is_found_without_the_store(data: st.DataObject) -> None:
    text = hashing.new_token("key")
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(
        st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c != text[place])
    )
    with pytest.raises(TokenMalformed) as caught:
        hashing.parse_token(text[:place] + character + text[place + 1 :])
    assert caught.value.status == 401
    assert text[10:] not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "thane_key_", "sk-123", "thane_key_" + "é" * 38, "thane_key_" + "a" * 38 + "\n"]
)
def test_other_text_is_no_token(text: str) -> None:
    with pytest.raises(TokenMalformed):
        hashing.parse_token(text)
    with pytest.raises(TokenMalformed):
        hashing.parse_token(hashing.new_token("key")[:-1])


@pytest.mark.parametrize("prefix", ["", "Key", "a_b", "1a", "a" * 17, "é"])
def test_a_prefix_is_short_and_lower_case(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        hashing.new_token(prefix)


def test_same_compares_whole_values() -> None:
    assert hashing.same(b"abc", b"abc")
    assert not hashing.same(b"abc", b"abd")
    assert not hashing.same(b"abc", b"ab")


def test_a_mark_is_the_documented_hmac() -> None:
    mark = blind_index(KEY, "users.phone", "+49 30")
    assert mark == hmac.new(KEY, b"users.phone\x00+49 30", hashlib.sha256).digest()
    assert len(mark) == MARK_BYTES


def test_marks_match_within_a_scope_and_key_only() -> None:
    mark = blind_index(KEY, "users.phone", "1")
    assert mark == blind_index(KEY, "users.phone", "1")
    others = [blind_index(KEY, "users.fax", "1"), blind_index(b"x" * 32, "users.phone", "1")]
    others.append(blind_index(KEY, "users.phone", "2"))
    assert len({mark, *others}) == 4


def test_folding_is_asked_for() -> None:
    assert blind_index(KEY, "s", "Straße", fold=True) == blind_index(KEY, "s", "STRASSE", fold=True)
    assert blind_index(KEY, "s", "ﬁx", fold=True) == blind_index(KEY, "s", "FIX", fold=True)
    assert blind_index(KEY, "s", "A") != blind_index(KEY, "s", "a")


@given(st.text())
def test_folding_twice_changes_nothing_more(value: str) -> None:
    assert folded(folded(value)) == folded(value)


def test_scope_and_key_are_checked() -> None:
    with pytest.raises(ValueError, match="NUL"):
        blind_index(KEY, "a\x00b", "c")
    with pytest.raises(ValueError, match="32 bytes"):
        blind_index(b"short", "a", "c")
