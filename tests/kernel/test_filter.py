"""The filter grammar: what it means, what it refuses, and that nothing else ever comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.errors import Invalid
from thane.kernel.records.entity import Field, Record, entity, field, key, ref, schema_of
from thane.kernel.records.filter import (
    MAX_CHARS,
    MAX_DEPTH,
    MAX_TERMS,
    parse_fields,
    parse_filter,
    parse_sort,
)
from thane.kernel.records.predicate import Predicate, matches


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"


class Limits(msgspec.Struct):
    max_memory_mb: int = 256
    share: float = 0.5
    kind: Status = Status.QUEUED
    tags: list[str] = []
    price: Decimal = Decimal(0)
    since: datetime | None = None
    exact: datetime = datetime(2026, 1, 1, tzinfo=UTC)


@entity("jobs", "job")
class Job(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    name: Field[str | None] = field()
    status: Field[Status] = field()
    attempts: Field[int] = field(default=0)
    active: Field[bool] = field(default=True)
    cost: Field[Decimal] = field(precision=10, scale=2, default=Decimal(0))
    created_at: Field[datetime] = field()
    resource_limits: Field[Limits] = field()
    metadata: Field[dict[str, Any]] = field()
    digest: Field[bytes] = field()
    phone: Field[str | None] = field(sealed=True, blind_index=True)
    key_hash: Field[str] = field(secret=True)


SCHEMA = schema_of(Job)
ROW: dict[str, Any] = {
    "id": "job_1",
    "tenant_id": "tnt_1",
    "name": "monthly report",
    "status": Status.QUEUED,
    "attempts": 3,
    "active": True,
    "cost": Decimal("1.50"),
    "created_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    "resource_limits": {"max_memory_mb": 256, "share": 0.5, "kind": "queued", "tags": ["a", "b"]},
    "metadata": {"a": {"b": "c", "n": 1, "list": [1, "x"]}, "t-1": True},
    "digest": b"",
}


def holds(text: str, row: Mapping[str, Any] = ROW) -> bool:
    predicate = parse_filter(SCHEMA, text)
    assert predicate is not None
    return matches(predicate, row.__getitem__)


def refused(text: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse_filter(SCHEMA, text)
    assert caught.value.faults[0].pointer == "/filter"
    return caught.value


class TestMeaning:
    @pytest.mark.parametrize(
        ("text", "shape", "values"),
        [
            ("status = 'queued'", ("=", "status"), ("queued",)),
            ("attempts>=3", (">=", "attempts"), (3,)),
            ("attempts = -3", ("=", "attempts"), (-3,)),
            ("cost < 1.5", ("<", "cost"), (Decimal("1.5"),)),
            ('cost < "1.5"', ("<", "cost"), (Decimal("1.5"),)),
            ("cost = 2", ("=", "cost"), (Decimal(2),)),
            ("active != false", ("!=", "active"), (False,)),
            ("name = null", ("null", "name"), ()),
            ("name != null", ("notnull", "name"), ()),
            ("phone_ = 1", None, ()),
            ('name ~ "rep"', ("substring", "name"), ("rep",)),
            ('name !~ "rep"', ("not", ("substring", "name")), ("rep",)),
            ("created_at > '2026-01-01'", (">", "created_at"), (datetime(2026, 1, 1, tzinfo=UTC),)),
            (
                "created_at > '2026-01-01T01:02:03.5+02:00'",
                (">", "created_at"),
                (datetime(2026, 1, 1, 1, 2, 3, 500000, timezone(timedelta(hours=2))),),
            ),
            ("created_at > '2026-01-01 10:00'", (">", "created_at"), (datetime(2026, 1, 1, 10, tzinfo=UTC),)),
            (
                "resource_limits.max_memory_mb = 256",
                ("contains", "resource_limits"),
                ({"max_memory_mb": 256},),
            ),
            ("metadata.a.b != 'c'", ("not", ("contains", "metadata")), ({"a": {"b": "c"}},)),
            ("metadata.t-1 = true", ("contains", "metadata"), ({"t-1": True},)),
            ("metadata.a.list ~ 'x'", ("contains", "metadata"), ({"a": {"list": ["x"]}},)),
            ("metadata ~ 'x'", ("contains", "metadata"), (["x"],)),
            ("metadata.a.n = 1.5", ("contains", "metadata"), ({"a": {"n": 1.5}},)),
            ("digest = null", ("null", "digest"), ()),
        ],
    )
    def test_one_comparison(self, text: str, shape: Any, values: tuple[Any, ...]) -> None:
        if shape is None:
            refused(text)
        else:
            assert parse_filter(SCHEMA, text) == Predicate(shape, values)

    def test_and_binds_closer_than_or(self) -> None:
        one, two, three = (Predicate(("=", "attempts"), (n,)) for n in (1, 2, 3))
        text = "attempts = 1 || attempts = 2 && attempts = 3"
        assert parse_filter(SCHEMA, text) == one | (two & three)
        text = "(attempts = 1 || attempts = 2) && attempts = 3"
        assert parse_filter(SCHEMA, text) == (one | two) & three
        assert parse_filter(SCHEMA, "attempts=1&&attempts=2&&attempts=3") == one & two & three

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('status = "queued" && created_at > "2026-01-01" && (name ~ "REP" || cost >= 99)', True),
            ('status = "running" || attempts < 3', False),
            ("resource_limits.max_memory_mb = 256 && resource_limits.tags ~ 'b'", True),
            ("resource_limits.tags !~ 'b'", False),
            ("resource_limits.kind = 'queued' && resource_limits.share = 0.5", True),
            ("metadata.a.b = 'c' && metadata.a.list ~ 1", True),
        ],
    )
    def test_rows(self, text: str, found: bool) -> None:
        assert holds(text) is found

    def test_null_is_never_compared(self) -> None:
        row = {**ROW, "name": None}
        assert not holds("name = 'x'", row)
        assert not holds("name != 'x'", row)
        assert not holds("name !~ 'x'", row)
        assert holds("name = null", row)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            (r'"a\"b"', 'a"b'),
            (r"'it\'s'", "it's"),
            (r'"\n\t\\"', "\n\t\\"),
            (r'"\u00e9"', "é"),
            (r'"\ud83d\ude80"', "🚀"),
            (r'"\ud83d"', "\ufffd"),
            ("'a && b || (c)'", "a && b || (c)"),
            ("'; DROP TABLE jobs --'", "; DROP TABLE jobs --"),
            ('"沙箱"', "沙箱"),
            ('""', ""),
        ],
    )
    def test_texts(self, text: str, value: str) -> None:
        assert parse_filter(SCHEMA, f"name = {text}") == Predicate(("=", "name"), (value,))

    def test_nothing_is_no_filter(self) -> None:
        assert parse_filter(SCHEMA, "") is None
        assert parse_filter(SCHEMA, " \n") is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "position", "words"),
        [
            ("nam = 'x'", 1, "did you mean name?"),
            ("attempts = 1 && staus = 'x'", 17, "did you mean status?"),
            ("zzz = 1", 1, "there are id, tenant_id"),
            ("phone = '1'", 1, "phone is sealed"),
            ("key_hash = '1'", 1, "key_hash is secret"),
            ("status = 'qeued'", 1, "did you mean queued?"),
            ("status > 'queued'", 1, "> has no meaning"),
            ("status = 1", 1, "text in quotes"),
            ("attempts = '3'", 1, "whole number"),
            ("attempts = 3.5", 1, "whole number"),
            ("attempts = true", 1, "whole number"),
            ("attempts = 9223372036854775808", 1, "64 bits"),
            ("attempts ~ '3'", 1, "for text"),
            ("name ~ 3", 1, "needs text"),
            ("name ~ ''", 1, "not empty"),
            ("name > null", 1, "null has no meaning"),
            ("active > true", 1, "no meaning"),
            ("active = 1", 1, "true or false"),
            ("cost = 'x'", 1, "a number"),
            ("cost = true", 1, "a number"),
            ("cost = 1.234", 1, "2 after the point"),
            ("cost = 123456789.00", 1, "8 digits before"),
            ("created_at > 5", 1, "a time such as"),
            ("created_at > 'soon'", 1, "a time such as"),
            ("created_at > '2026-02-30'", 1, "no time that there is"),
            ("created_at > '0001-01-01T00:00+23:00'", 1, "no time that there is"),
            ("digest = 'x'", 1, "compared with null"),
            ("name.x = 1", 1, "has no x"),
            ("name.x = null", 1, "has no x"),
            ("metadata = 'x'", 1, "name a place"),
            ("metadata.a > 1", 1, "in JSON"),
            ("metadata.a = null", 1, "cannot be compared with null"),
            ("metadata.a = 9007199254740993", 1, "2^53"),
            ("resource_limits.max_memory = 1", 1, "did you mean max_memory_mb?"),
            ("resource_limits.max_memory_mb = 'x'", 1, "is int"),
            ("resource_limits.zzz = 'x'", 1, "there are max_memory_mb"),
            ("resource_limits.price = 1.5", 1, "exact money"),
            ("resource_limits.price = 1", 1, "cannot be filtered"),
            ("resource_limits.exact = 'x'", 1, "cannot be filtered"),
            ("name", 5, "after name, got the end"),
            ("name =", 7, "a value after =, got the end"),
            ("name = queued", 8, 'write text in quotes: "queued"'),
            ("name == 'x'", 7, "a value after =, got ="),
            ("name ?= 'x'", 6, "after name, got ?"),
            ("name = 'x", 8, "never closed"),
            ("name = 'x' attempts = 1", 12, "expected && or ||"),
            ("name = 'x' and attempts = 1", 12, "expected && or ||"),
            ("name = 'x' &&", 14, "a field's name or (, got the end"),
            ("(name = 'x'", 12, "expected ) for the ( at position 1"),
            ("name = 'x')", 11, "closes nothing"),
            ("()", 2, "a field's name or (, got )"),
            ("'x' = name", 1, "a field's name or (, got 'x'"),
            ("true = true", 1, "a field's name"),
            ("attempts = 1e5", 12, "got 1"),
            ("attempts = 1x", 12, "got 1"),
            (r"name = '\q'", 8, "unknown escape"),
            (r"name = '\u12'", 8, "unknown escape"),
            (r"name = '\u0000'", 8, "NUL"),
            (
                "(" * (MAX_DEPTH + 1) + "name = 'x'" + ")" * (MAX_DEPTH + 1),
                MAX_DEPTH + 2,
                "inside one another",
            ),
            (" && ".join(["attempts = 1"] * (MAX_TERMS + 1)), 16 * MAX_TERMS + 1, "64 comparisons"),
        ],
    )
    def test_it_says_what_and_where(self, text: str, position: int, words: str) -> None:
        error = refused(text)
        assert words in error.message
        assert error.extra["position"] == position

    def test_the_limits_themselves_are_allowed(self) -> None:
        assert holds("(" * MAX_DEPTH + "attempts = 3" + ")" * MAX_DEPTH)
        assert holds(" && ".join(["attempts = 3"] * MAX_TERMS))

    def test_a_long_filter(self) -> None:
        assert str(MAX_CHARS) in refused("name = '" + "x" * MAX_CHARS + "'").message

    def test_a_sealed_field_is_not_offered(self) -> None:
        assert "key_hash" not in refused("zzz = 1").message
        assert "phone" not in refused("phon = 1").message

    PIECES = st.sampled_from(
        "name status attempts cost created_at metadata.a resource_limits.tags phone ( ) = != ~ !~ > <= && || "
        "'queued' \"2026-01-01\" 1 2.5 true null \\ ' \" \0 é 99999999999999999999".split(" ")
    )

    @given(st.text(max_size=200) | st.lists(PIECES, max_size=30).map(" ".join))
    def test_any_text_gives_a_predicate_or_invalid(self, text: str) -> None:
        try:
            predicate = parse_filter(SCHEMA, text)
        except Invalid:
            return
        if predicate is not None:  # what is accepted can be evaluated
            assert matches(predicate, ROW.__getitem__) in (True, False)


class TestSortAndFields:
    def test_sort(self) -> None:
        orders = parse_sort(SCHEMA, "-created_at, name,+cost")
        assert [(o.field, o.descending) for o in orders] == [
            ("created_at", True),
            ("name", False),
            ("cost", False),
        ]
        assert parse_sort(SCHEMA, "") == ()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("creatd_at", "did you mean created_at?"),
            ("-phone", "phone is sealed"),
            ("key_hash", "secret"),
            ("metadata", "cannot be sorted by"),
            ("name,-name", "named twice"),
            ("name,,cost", "beside a comma"),
            (",".join(["name"] * 9), "at most 8"),
            ("--name", "no field"),
            ("x" * (MAX_CHARS + 1), "characters"),
        ],
    )
    def test_wrong_sorts(self, text: str, words: str) -> None:
        with pytest.raises(Invalid) as caught:
            parse_sort(SCHEMA, text)
        assert words in caught.value.message
        assert caught.value.faults[0].pointer == "/sort"

    def test_fields(self) -> None:
        assert parse_fields(SCHEMA, "id, name,version,id") == ("id", "name", "version")
        assert parse_fields(SCHEMA, "phone") == ("phone",)  # sealed, but its reader may see it
        assert parse_fields(SCHEMA, " ") == ()

    @pytest.mark.parametrize(
        ("text", "words"), [("nam", "did you mean name?"), ("key_hash", "secret"), ("a,", "comma")]
    )
    def test_wrong_fields(self, text: str, words: str) -> None:
        with pytest.raises(Invalid) as caught:
            parse_fields(SCHEMA, text)
        assert words in caught.value.message
        assert caught.value.faults[0].pointer == "/fields"

    @given(st.text(max_size=50))
    def test_any_text_gives_names_or_invalid(self, text: str) -> None:
        for parse in (parse_sort, parse_fields):
            with suppress(Invalid):
                parse(SCHEMA, text)
