"""Canonical JSON against RFC 8785: its own examples, and an encoder written the slow way."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel import canonical


def slow(value: object) -> bytes:
    """RFC 8785 from its text: sorted by UTF-16 code units, Python's own string escapes."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        parts = [slow(key) + b":" + slow(value[key]) for key in keys]
        return b"{" + b",".join(parts) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(slow(item) for item in value) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical.MAX_INT, canonical.MAX_INT)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(values)
def test_equals_an_encoder_written_from_the_text_of_the_rfc(value: object) -> None:
    assert canonical.encode(value) == slow(value)


def test_sorts_keys_as_in_section_3_2_3() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    order = ["Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign"]
    order += ["Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh"]
    assert list(json.loads(canonical.encode(value)).values()) == order


def test_writes_the_string_of_section_3_2_2() -> None:
    value = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", "literals": [None, True, False]}
    expected = '{"literals":[null,true,false],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical.encode(value) == expected.encode()


def test_escapes_every_control_character_as_the_rfc_says() -> None:
    short = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"}
    for code in range(0x20):
        expected = short.get(code) or "\\u" + format(code, "04x")
        assert canonical.encode(chr(code)) == ('"' + expected + '"').encode()
    assert canonical.encode("\x7f\u2028") == '"\x7f\u2028"'.encode()


def test_sorts_nested_objects_with_characters_beyond_the_basic_plane() -> None:
    inner = {"\uffff": 1, "\U00010000": 2}
    assert canonical.encode([{"a": (inner,)}]) == '[{"a":[{"\U00010000":2,"\uffff":1}]}]'.encode()


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (1.0, "at the top"),
        ({"a": [1, 2.5]}, "/a/1"),
        ({"a/b": {"~": b"x"}}, "/a~1b/~0"),
        ([Decimal(1)], "/0"),
        ({"s": {1, 2}}, "/s"),
        ([0, {1: 2}], "/1"),
        ([None, "text", 5, True, {"k": []}, float("nan")], "/5"),
    ],
)
def test_refuses_other_types_and_says_where(value: object, pointer: str) -> None:
    with pytest.raises(TypeError) as caught:
        canonical.encode(value)
    assert pointer in str(caught.value)


def test_refuses_integers_that_a_double_cannot_tell_apart() -> None:
    assert canonical.encode([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"
    for value in (2**53, -(2**53)):
        with pytest.raises(ValueError, match=r"'/n' is beyond"):
            canonical.encode({"n": value})


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, {"\ud83d\ufb33": 1}])
def test_refuses_lone_surrogates(value: object) -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        canonical.encode(value)


def test_refuses_nesting_past_the_limit() -> None:
    deep: object = "x"
    for _ in range(canonical.MAX_DEPTH):
        deep = [deep]
    assert canonical.encode(deep).count(b"[") == canonical.MAX_DEPTH
    with pytest.raises(ValueError, match="nested deeper"):
        canonical.encode([deep])
