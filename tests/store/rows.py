"""Random boxes and random conditions on them, for comparing an engine with the reference in Python."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.store.entities import Box, Status
from thane.kernel.records import Predicate

# Letters on both sides of what engines are known to treat differently: case, accents, the end of
# the basic plane (UTF-16 order is not code point order), the last character there is.
LETTERS = "aAbBäÄß_%'\"\\ é\u0130\u017f\ud7ff\ue000\uffff\U0001f600\U0010ffff"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DOCUMENTS: list[dict[str, object]] = [
    {},
    {"a": 1},
    {"a": True},
    {"a": [1, "a", None]},
    {"a": {"b": [0.5, {"a": 2}]}},
    {"ä": "ä", "b": None},
    {"a": 1.0, "b": [True]},
]
# What the stored rows are made of, and what they are compared with.
CORNERS: dict[str, list[Any]] = {
    "slot": [None, -(2**63), -1, 0, 1, 2, 2**63 - 1],
    "status": [Status.NEW, Status.SHUT],
    "number": [-(2**63), -1, 0, 1, 2, 10, 2**53 + 1, 2**63 - 1],
    "cost": [
        Decimal(c)
        for c in (
            "0",
            "1",
            "-1",
            "0.1",
            "-0.1",
            "1e-18",
            "-1e-18",
            "10",
            "-10",
            "999999999999999999.999999999999999999",
        )
    ],
    "price": [None, *(Decimal(p) for p in ("0", "-0.0001", "0.0001", "12345678.9", "-99999999.9999"))],
    "open": [True, False],
    "seen_at": [None, *(EPOCH + timedelta(microseconds=n) for n in (-(10**15), -1, 0, 1, 10**15))],
    "created_at": [EPOCH + timedelta(microseconds=n) for n in (0, 1, 2)],
    "title": [None, "", *LETTERS, *(a + b for a, b in zip(LETTERS, LETTERS[5:], strict=False))],
    "code": ["", *LETTERS, *(a + b for a, b in zip(LETTERS[3:], LETTERS, strict=False))],
    "meta": DOCUMENTS,
}


def corner_rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rows in which the corner values meet by chance, the same in every run."""
    chance = random.Random(seed)
    return [{name: chance.choice(values) for name, values in CORNERS.items()} for _ in range(count)]


texts = st.text(LETTERS, max_size=3)
scalars = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from([0.5, 1.0, "a", "ä", ""])
documents = st.sampled_from(DOCUMENTS) | st.dictionaries(
    st.sampled_from("abä"),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        max_leaves=4,
    ),
    max_size=2,
)
COMPARED = ("slot", "status", "number", "cost", "price", "open", "seen_at", "created_at", "title", "code")


def column(name: str) -> Any:
    return getattr(Box, name)


@st.composite
def comparisons(draw: st.DrawFn) -> Predicate:
    name = draw(st.sampled_from(COMPARED))
    known = st.sampled_from([v for v in CORNERS[name] if v is not None])
    if name in ("title", "code"):
        known |= texts
    chosen = column(name)
    kind = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "null", "notnull"]))
    if kind == "in":
        made = chosen.in_(draw(st.lists(known, max_size=3)))
    elif kind == "null":
        made = chosen == None  # noqa: E711
    elif kind == "notnull":
        made = chosen != None  # noqa: E711
    else:
        made = Predicate((kind, name), (draw(known),))
    assert isinstance(made, Predicate)
    return made


@st.composite
def text_conditions(draw: st.DrawFn) -> Predicate:
    name, text = draw(st.sampled_from(("title", "code", "status"))), draw(texts)
    made = column(name).startswith(text) if draw(st.booleans()) else column(name).has(text)
    assert isinstance(made, Predicate)
    return made


contained = documents.map(Box.meta.contains)
predicates = st.recursive(
    comparisons() | text_conditions() | contained,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=6,
)
