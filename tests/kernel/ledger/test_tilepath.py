"""Tile paths and entry bundles against c2sp.org/tlog-tiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.ledger import tilepath
from thane.kernel.ledger.errors import BundleInvalid, TilePathInvalid
from thane.kernel.ledger.tilepath import TilePath

KNOWN = {
    "tile/0/x001/x234/067": TilePath(0, 1_234_067, 256),
    "tile/0/x001/234.p/17": TilePath(0, 1_234, 17),
    "tile/0/000": TilePath(0, 0, 256),
    "tile/63/999.p/255": TilePath(63, 999, 255),
    "tile/entries/x001/000": TilePath(None, 1000, 256),
    "tile/entries/273.p/112": TilePath(None, 273, 112),
}


@pytest.mark.parametrize("path", KNOWN)
def test_known_paths_are_read_and_written(path: str) -> None:
    found = tilepath.parse_tile_path(path)
    assert found == KNOWN[path]
    if found.level is None:
        assert tilepath.entries_path(found.n, found.width) == path
    else:
        assert tilepath.tile_path(found.level, found.n, found.width) == path


@given(st.none() | st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_every_path_can_be_read_back(level: int | None, n: int, width: int) -> None:
    if level is None:
        path = tilepath.entries_path(n, width)
    else:
        path = tilepath.tile_path(level, n, width)
    assert tilepath.parse_tile_path(path) == TilePath(level, n, width)


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0", "tile/0/0", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/1234",
        "tile/0/x000/001",
        "tile/0/001/002", "tile/0/x001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01",
        "tile/0/000/",
        "/tile/0/000", "tile/0/000\n", "tile/0/٠٠٠", "tile/data/000", "tile/0/../000",
        "tile/0/" + "x999/" * 7 + "999", "tile/0/x009/x223/x372/x036/x854/x775/808",
    ],
)  # fmt: skip
def test_any_other_spelling_names_no_tile(path: str) -> None:
    with pytest.raises(TilePathInvalid) as caught:
        tilepath.parse_tile_path(path)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("level", "n", "width"), [(64, 0, 256), (-1, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0)]
)
def test_numbers_out_of_range_make_no_path(level: int, n: int, width: int) -> None:
    with pytest.raises(ValueError):
        tilepath.tile_path(level, n, width)


@given(st.lists(st.binary(max_size=600), max_size=256))
def test_bundles_can_be_read_back(entries: list[bytes]) -> None:
    assert tilepath.decode_bundle(tilepath.encode_bundle(entries)) == entries


def test_a_bundle_has_big_endian_lengths() -> None:
    assert tilepath.encode_bundle([b"ab", b"", b"x" * 258]) == b"\x00\x02ab\x00\x00\x01\x02" + b"x" * 258
    assert tilepath.decode_bundle(tilepath.encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]


def test_what_does_not_fit_a_bundle_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        tilepath.encode_bundle([b"x" * 65_536])
    with pytest.raises(ValueError, match="257"):
        tilepath.encode_bundle([b""] * 257)


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00", b"\x00\x00" * 257])
def test_a_bundle_that_does_not_add_up_is_refused(data: bytes) -> None:
    with pytest.raises(BundleInvalid):
        tilepath.decode_bundle(data)
