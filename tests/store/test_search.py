"""Text search: the hits are those of `matches_text`, whatever the text and whatever the question."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.entities import Box, User
from tests.store.world import World
from thane.kernel.errors import Invalid
from thane.kernel.records import Unit
from thane.kernel.records.prepare import INDEXED_BYTES
from thane.kernel.records.text import analyse, matches_text, parse_query

# Words that share beginnings and stems, in several scripts; `ucaab` and `_caab` look like hex forms.
WORDS = (
    "run runs running runner u un und naïve naive NAÏVE ʫ ucaab ücaab snake_case os.path utf8 8 80 straße "
    "STRASSE 東京 東 京都 привет Ünïcode NOT AND near a\u0301b 'quote' col:umn ^x *"
).split()
documents = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
terms = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS).map(lambda w: w[:2] + "*"),
    st.sampled_from("u 8 n s ü 東 _ r".split()).map(lambda w: w + "*"),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda ws: '"' + " ".join(ws) + '"'),
)
queries = st.lists(
    st.tuples(st.sampled_from(["", "", "-", "OR "]), terms).map("".join), min_size=1, max_size=4
).map(lambda parts: " ".join(parts).removeprefix("OR "))


async def hits(world: World, query: str) -> list[str]:
    async def look(unit: Unit) -> list[str]:
        return [b.id for b in await unit.search(Box, query, limit=1000)]

    return await world.read(look)


def meant(boxes: list[Box], query: str) -> list[str]:
    """Newest id first; an empty token is the wall between two fields."""
    parsed = parse_query(query)
    found = [b for b in boxes if matches_text(parsed, [*analyse(b.title or ""), "", *analyse(b.code or "")])]
    return sorted((b.id for b in found), reverse=True)


@pytest.fixture
async def boxes(world: World) -> list[Box]:
    docs = [*WORDS, *(f"{a} {b}" for a, b in zip(WORDS, WORDS[3:], strict=False)), "", " ".join(WORDS)]
    return await world.fill([world.box(title=t, code=c) for t, c in zip(docs, reversed(docs), strict=True)])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=queries)
async def test_hits_are_those_of_the_reference(world: World, boxes: list[Box], query: str) -> None:
    try:
        expected = meant(boxes, query)
    except Invalid:  # only negations, say
        return
    assert await hits(world, query) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    title=st.text(st.characters(exclude_characters='\0"', exclude_categories=["Cs"]), max_size=30)
    | documents,
    code=documents,
    chosen=st.integers(0, 100),
    form=st.sampled_from(["{}", '"{}"', "{}*"]),
)
async def test_any_text_is_found_as_the_reference_says(
    world: World, title: str, code: str, chosen: int, form: str
) -> None:
    words = analyse(title) + analyse(code)
    if not words:
        return
    box = await world.boxed(title=title, code=code)
    query = form.format(words[chosen % len(words)])
    expected = matches_text(parse_query(query), [*analyse(title), "", *analyse(code)])
    assert (box.id in await hits(world, query)) is expected
    await world.remove(box)
    assert await hits(world, query) == []


async def test_hits_come_newest_first_and_within_the_limit(world: World) -> None:
    boxes = await world.fill([world.box(title="same words") for _ in range(7)])

    async def look(unit: Unit) -> list[str]:
        return [b.id for b in await unit.search(Box, "words", limit=3)]

    assert await world.read(look) == [b.id for b in reversed(boxes)][:3]


async def test_a_condition_narrows_a_search(world: World) -> None:
    one, _ = await world.fill([world.box(title="word", number=1), world.box(title="word", number=2)])

    async def look(unit: Unit) -> list[str]:
        return [b.id for b in await unit.search(Box, "word", (Box.number == 1) & (Box.tenant_id == world.a))]

    assert await world.read(look) == [one.id]


async def test_a_change_is_found_by_its_new_words_only(world: World) -> None:
    box = await world.boxed(title="old", code="kept")
    await world.change(box, title="new naïve")
    assert [await hits(world, q) for q in ("old", "new", "naïve", "kept")] == [
        [],
        [box.id],
        [box.id],
        [box.id],
    ]
    await world.change(box, number=1)  # leaves the words alone
    assert await hits(world, "naïve kept") == [box.id]
    await world.change(box, title=None, code="")
    assert [await hits(world, q) for q in ("new", "kept")] == [[], []]


async def test_words_of_a_row_that_is_gone_find_nobody_who_came_after(world: World) -> None:
    await world.remove(await world.boxed(title="ghost"))
    await world.boxed(title="living")
    assert await hits(world, "ghost") == []


async def test_a_refused_write_leaves_the_index_alone(world: World) -> None:
    box = await world.boxed(name="taken", title="first")

    async def clash(unit: Unit) -> None:
        await unit.update(await unit.get(Box, box.id), title="second")
        unit.create(world.box(name="taken", title="second"))

    with pytest.raises(Exception, match="exists already"):
        await world.run(clash)
    assert (await hits(world, "first"), await hits(world, "second")) == ([box.id], [])


async def test_only_the_beginning_of_a_huge_text_is_indexed(world: World) -> None:
    filler = "filler " * (INDEXED_BYTES // 7 + 10)
    box = await world.boxed(code=f"early {filler} late")
    assert await hits(world, "early") == [box.id]
    assert await hits(world, "late") == []
    assert (await world.get(box)).code == box.code


async def test_only_searchable_tables_are_searched(world: World) -> None:
    async def look(unit: Unit) -> None:
        await unit.search(User, "owner")

    with pytest.raises(TypeError, match="no searchable text"):
        await world.read(look)
