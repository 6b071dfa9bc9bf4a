"""Leaves and heads: canonical by construction, bounded, strict to read."""

from __future__ import annotations

import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel import canonical
from thane.kernel.ledger import leaf as leaves
from thane.kernel.ledger import tree
from thane.kernel.ledger.errors import LeafInvalid
from thane.kernel.ledger.leaf import NO_CHANGES, Changes, Head, Kind, Leaf, Op
from thane.kernel.ledger.proof import verify_inclusion

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
digest = st.binary(min_size=32, max_size=32).map(bytes.hex)
number = st.integers(0, canonical.MAX_INT)

some_leaves = st.builds(
    Leaf,
    actor=st.lists(text, min_size=1, max_size=4).map(tuple),
    changes=st.builds(Changes, number, digest),
    details=st.none() | digest,
    intent=st.none() | number,
    kind=st.sampled_from(Kind),
    operation=text,
    outcome=st.none() | text,
    project=st.none() | text,
    request=text,
    resource=st.none() | text,
    run=st.none() | text,
    seq=number,
    tenant=text,
    time=number,
)
some_heads = st.builds(
    Head,
    after=st.none() | digest,
    before=st.none() | digest,
    body=st.none() | digest,
    id=text,
    op=st.sampled_from(Op),
    previous=st.none() | number,
    schema=text,
    schema_version=number,
)


def a_leaf(**changed: object) -> Leaf:
    fields: dict[str, object] = {
        "actor": ("usr_1", "agt_2"), "changes": NO_CHANGES, "details": None, "intent": None,
        "kind": Kind.RECORD, "operation": "sandboxes.create", "outcome": "ok", "project": "prj_1",
        "request": "req_1", "resource": "sbx_1", "run": None, "seq": 7, "tenant": "ten_1",
        "time": 1_764_021_427_000_000,
    }  # fmt: skip
    return Leaf(**{**fields, **changed})  # type: ignore[arg-type]


@given(some_leaves)
def test_a_leaf_is_canonical_and_can_be_read_back(leaf: Leaf) -> None:
    data = leaf.encode()
    assert data == canonical.encode(msgspec.to_builtins(leaf))
    assert leaves.decode_leaf(data) == leaf


@given(some_heads)
def test_a_head_is_canonical_and_can_be_read_back(head: Head) -> None:
    data = head.encode()
    assert data == canonical.encode(msgspec.to_builtins(head))
    assert leaves.decode_head(data) == head


def test_a_leaf_has_exactly_these_bytes() -> None:
    expected = (
        '{"actor":["usr_1","agt_2"],"changes":{"count":0,"root":'
        '"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"details":null,"intent":null,'
        '"kind":"record","operation":"sandboxes.create","outcome":"ok","project":"prj_1","request":"req_1",'
        '"resource":"sbx_1","run":null,"seq":7,"tenant":"ten_1","time":1764021427000000,"v":1}'
    )
    assert a_leaf().encode() == expected.encode()


def test_the_protocols_kinds_and_ops_are_all_there() -> None:
    assert list(Kind) == ["record", "intent", "outcome", "access", "erasure"]
    assert list(Op) == ["create", "update", "delete", "erase"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1}', b'"v":1}\n'),
        (b'"seq":7', b'"seq": 7'),
        (b'"seq":7', b'"seq":7.0'),
        (b'"v":1', b'"v":2'),
        (b'"kind":"record"', b'"kind":"other"'),
        (b'"run":null,', b""),
        (b'"v":1', b'"v":1,"w":2'),
        (b"usr_1", b"usr_\xff"),
        (b'"seq":7', b'"seq":8,"seq":7'),
        (a_leaf().encode(), b"[]"),
        (a_leaf().encode(), b""),
    ],
)
def test_a_leaf_in_another_form_is_refused(old: bytes, new: bytes) -> None:
    data = a_leaf().encode()
    assert old in data
    with pytest.raises(LeafInvalid):
        leaves.decode_leaf(data.replace(old, new))


def test_a_head_in_another_form_is_refused() -> None:
    head = Head(
        after="aa",
        before=None,
        body=None,
        id="sbx_1",
        op=Op.CREATE,
        previous=None,
        schema="s",
        schema_version=1,
    )
    for data in (head.encode() + b" ", b"{}", b"\xff", head.encode().replace(b"create", b"made")):
        with pytest.raises(LeafInvalid):
            leaves.decode_head(data)


def test_oversize_is_refused_when_made() -> None:
    assert leaves.MAX_LEAF_BYTES < 65_535
    assert len(a_leaf(actor=("usr_" + "0" * 36,) * 100).encode()) < leaves.MAX_LEAF_BYTES
    with pytest.raises(LeafInvalid, match=r"sandboxes\.create has"):
        a_leaf(resource="x" * leaves.MAX_LEAF_BYTES).encode()
    head = Head(
        after=None, before=None, body=None, id="x" * leaves.MAX_LEAF_BYTES, op=Op.DELETE, previous=1,
        schema="sandboxes", schema_version=1,
    )  # fmt: skip
    with pytest.raises(LeafInvalid, match="sandboxes"):
        head.encode()


@given(st.lists(some_heads, max_size=9))
def test_changes_cover_every_head_in_order(heads: list[Head]) -> None:
    encoded = [head.encode() for head in heads]
    changes = Changes.of(encoded)
    assert changes.count == len(heads)
    assert bytes.fromhex(changes.root) == leaves.changes_root(heads) == tree.root_of(encoded)
    for index, head in enumerate(encoded):
        path = tree.inclusion_of(encoded, index)
        verify_inclusion(index, len(heads), tree.leaf_hash(head), path, leaves.changes_root(heads))


def test_no_changes_have_the_root_of_nothing() -> None:
    assert Changes.of([]) == NO_CHANGES == Changes(0, sha256(b"").hexdigest())


def test_a_row_digest_covers_salt_and_row() -> None:
    salt, row = bytes(range(16)), b'{"id":"sbx_1"}'
    assert leaves.row_digest(salt, row) == sha256(salt + row).digest()
    for length in (0, 15, 17):
        with pytest.raises(ValueError, match="16 bytes"):
            leaves.row_digest(b"x" * length, row)


def test_a_sealed_digest_is_hex() -> None:
    assert leaves.sealed_digest(b"") == sha256(b"").hexdigest()


def test_a_usual_leaf_is_far_below_the_limit() -> None:
    uuid = "0190c8a0-7b1e-7000-8000-000000000000"
    full = a_leaf(
        actor=(f"usr_{uuid}", f"agt_{uuid}"), details="ab" * 32, intent=2**40, run=f"run_{uuid}", seq=2**40,
        project=f"prj_{uuid}", request=f"req_{uuid}", resource=f"sbx_{uuid}", tenant=f"ten_{uuid}",
    )  # fmt: skip
    assert len(full.encode()) < 1000
    assert json.loads(full.encode())["seq"] == 2**40
