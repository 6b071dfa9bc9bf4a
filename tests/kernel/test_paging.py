"""Pages: cursors that come back as they were, and are refused anywhere else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel import canonical
from thane.kernel.errors import Invalid
from thane.kernel.paging import (
    MAX_CURSOR_CHARS,
    MAX_LIMIT,
    Keyset,
    Page,
    PageRequest,
    after,
    decode_cursor,
    encode_cursor,
    query_digest,
    total_order,
)
from thane.kernel.records.entity import Field, Record, entity, field, key, ref, schema_of
from thane.kernel.records.predicate import Order, Predicate, matches


class Status(StrEnum):
    OPEN = "open"
    DONE = "done"


@entity("things", "thg")
class Thing(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    name: Field[str | None] = field()
    status: Field[Status] = field(default=Status.OPEN)
    count: Field[int] = field(default=0)
    done: Field[bool] = field(default=False)
    cost: Field[Decimal] = field(default=Decimal(0))
    made_at: Field[datetime] = field(default=datetime(2026, 1, 1, tzinfo=UTC))


SCHEMA = schema_of(Thing)
NAMES = ("name", "status", "count", "done", "cost", "made_at", "id")
ORDER = tuple(Order(name, False) for name in NAMES)
FIELDS = [SCHEMA.by_name[name] for name in NAMES]
DIGEST = query_digest(SCHEMA, ORDER, "")

VALUES = st.tuples(
    st.none() | st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")),
    st.sampled_from(["open", "done"]),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**17), max_value=10**17),
    st.datetimes(timezones=st.just(UTC)),
    st.text("0123456789abcdef", min_size=1, max_size=32),
)


def refused(cursor: str, digest: str = DIGEST) -> Invalid:
    with pytest.raises(Invalid) as caught:
        decode_cursor(cursor, digest, FIELDS)
    assert caught.value.faults[0].pointer == "/cursor"
    return caught.value


def forged(*values: Any, version: int = 1, digest: str = DIGEST) -> str:
    raw = canonical.encode([version, digest, list(values)])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thing(number: int, **values: Any) -> Thing:
    return Thing(id=f"thg_{number:04}", tenant_id="tnt_1", **values)


def _sorter(name: str) -> Callable[[Thing], tuple[bool, Any]]:
    """As a store sorts: NULL below everything."""

    def place(row: Thing) -> tuple[bool, Any]:
        value = getattr(row, name)
        return (value is not None, "" if value is None else value)

    return place


class TestCursor:
    @given(VALUES)
    def test_values_come_back_with_their_types(self, values: tuple[Any, ...]) -> None:
        cursor = encode_cursor(DIGEST, values)
        found = decode_cursor(cursor, DIGEST, FIELDS)
        assert found == values
        assert [type(v) for v in found] == [type(v) for v in values]
        assert cursor.isascii()
        assert not set(cursor) & set("+/=&?# ")

    def test_an_enum_is_its_word(self) -> None:
        keyset = Keyset(SCHEMA, [Order("status", False)])
        cursor = keyset.cursor(thing(1, status=Status.DONE))
        predicate = keyset.after(cursor)
        assert predicate == Predicate(
            ("after", (("status", False, False), ("id", False, False))), ("done", "thg_0001")
        )

    @given(st.text(max_size=80) | st.binary(max_size=80).map(lambda b: base64.urlsafe_b64encode(b).decode()))
    def test_garbage_is_refused(self, cursor: str) -> None:
        refused(cursor)

    def test_a_cut_or_changed_one_is_refused(self) -> None:
        cursor = encode_cursor(
            DIGEST, ["a", "open", 1, True, Decimal(1), datetime(2026, 1, 1, tzinfo=UTC), "thg_1"]
        )
        decode_cursor(cursor, DIGEST, FIELDS)
        for length in range(len(cursor)):
            refused(cursor[:length])
        refused(cursor + "x" * MAX_CURSOR_CHARS)
        refused(base64.urlsafe_b64encode(b"[" * 9000).decode())

    @pytest.mark.parametrize(
        ("index", "value"),
        [
            (0, 1),
            (0, {"i": "1"}),
            (0, "a\0b"),
            (2, "1"),
            (2, True),
            (2, {"i": 1}),
            (2, {"i": "x"}),
            (2, {"i": "9223372036854775808"}),
            (2, {"i": "1", "d": "1"}),
            (2, {"i": "9" * 5000}),
            (3, "true"),
            (4, {"d": "NaN"}),
            (4, {"d": "1e999999"}),
            (4, {"d": "x"}),
            (4, {"t": "1"}),
            (5, {"t": "9223372036854775807"}),
            (5, {"t": "٣"}),
            (6, []),
        ],
    )
    def test_a_value_of_another_kind_is_refused(self, index: int, value: Any) -> None:
        values: list[Any] = ["a", "open", {"i": "1"}, True, {"d": "1"}, {"t": "1"}, "thg_1"]
        decode_cursor(forged(*values), DIGEST, FIELDS)
        values[index] = value
        assert "cannot be read" in refused(forged(*values)).message

    def test_another_version_or_number_of_keys_is_refused(self) -> None:
        values = ["a", "open", {"i": "1"}, True, {"d": "1"}, {"t": "1"}, "thg_1"]
        assert "another list" in refused(forged(*values, version=2)).message
        assert "another list" in refused(forged(*values[1:])).message

    def test_it_belongs_to_one_table_filter_and_order(self) -> None:
        base = Keyset(SCHEMA, [Order("count", True)], "count > 1")
        cursor = base.cursor(thing(1))
        assert Keyset(SCHEMA, [Order("count", True)], " count > 1 ").after(cursor) is not None
        others = [
            Keyset(SCHEMA, [Order("count", False)], "count > 1"),
            Keyset(SCHEMA, [], "count > 1"),
            Keyset(SCHEMA, [Order("count", True)], "count > 2"),
            Keyset(SCHEMA, [Order("count", True)], "count > 1\ud800"),
        ]
        for other in others:
            with pytest.raises(Invalid, match="another list"):
                other.after(cursor)

    def test_values_too_long_for_a_cursor(self) -> None:
        with pytest.raises(Invalid, match="too long"):
            encode_cursor(DIGEST, ["x" * MAX_CURSOR_CHARS])

    @pytest.mark.parametrize("value", [b"x", 1.5, [1]])
    def test_what_cannot_be_a_key(self, value: object) -> None:
        with pytest.raises(TypeError, match="sort key"):
            encode_cursor(DIGEST, [value])


class TestOrder:
    @pytest.mark.parametrize(
        ("given_", "total"),
        [
            ([], [("id", False)]),
            ([("name", False)], [("name", False), ("id", False)]),
            ([("name", False), ("count", True)], [("name", False), ("count", True), ("id", True)]),
            ([("id", True), ("name", False)], [("id", True)]),
        ],
    )
    def test_the_id_is_last(self, given_: list[tuple[str, bool]], total: list[tuple[str, bool]]) -> None:
        found = total_order([Order(*o) for o in given_])
        assert [(o.field, o.descending) for o in found] == total

    def test_null_has_no_value(self) -> None:
        predicate = after([Order("name", True)], (None, "thg_1"))
        assert predicate == Predicate(("after", (("name", True, True), ("id", True, False))), ("thg_1",))

    def test_a_value_for_each_key(self) -> None:
        with pytest.raises(ValueError, match="1 values for 2"):
            after([Order("name", True)], ("x",))


class TestPages:
    @pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
    def test_limits(self, limit: int) -> None:
        with pytest.raises(Invalid) as caught:
            PageRequest(limit=limit)
        assert caught.value.faults[0].pointer == "/limit"

    def test_defaults(self) -> None:
        assert PageRequest().limit == 30
        assert Page(items=(1,)).next_cursor is None

    @given(
        st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.integers(0, 3)), max_size=25),
        st.lists(st.tuples(st.sampled_from(["name", "count"]), st.booleans()), max_size=2),
        st.integers(1, 7),
    )
    def test_walking_the_pages_shows_every_row_once_in_order(
        self, rows: list[tuple[str | None, int]], order: list[tuple[str, bool]], limit: int
    ) -> None:
        things = [thing(i, name=name, count=count) for i, (name, count) in enumerate(rows)]
        keyset = Keyset(SCHEMA, [Order(*o) for o in dict(order).items()])
        for sort_key in reversed(keyset.order):
            things.sort(key=_sorter(sort_key.field), reverse=sort_key.descending)
        seen: list[Thing] = []
        cursor: str | None = None
        while True:
            where = keyset.after(cursor)
            behind = [t for t in things if where is None or matches(where, lambda n, t=t: getattr(t, n))]
            page = keyset.page(behind[: limit + 1], limit)
            seen += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.items) == limit
        assert seen == things
