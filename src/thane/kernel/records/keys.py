"""Subject keys: whose data key seals a row, a field or an entry's details.

Wrapped keys are rows of `subject_keys` (no history, left out of data backups); their
master key lies in the key folder. A key is made in the unit that makes its subject, so
that a key without a subject, or the reverse, never stands in the store.
"""

from __future__ import annotations

from thane.kernel.records.engine import Engine, Selection
from thane.kernel.records.entity import Field, Index, Record, entity, field, key, schema_of
from thane.kernel.sealing.envelope import SubjectKey
from thane.kernel.sealing.errors import KeyMissing
from thane.kernel.sealing.keyring import KeyFolder, WrappedKey


@entity(
    "subject_keys",
    "sjk",
    Index("subject", unique=True),
    Index("tenant_id"),
    scoped=False,
    history=False,
)
class SubjectKeyRow(Record):
    """A subject's data key, wrapped. `id` is `sjk_` and the key id in hex."""

    id: Field[str] = key()
    tenant_id: Field[str] = field()
    subject: Field[str] = field()
    master_key_id: Field[bytes] = field()
    wrapped: Field[bytes] = field()


class SubjectRing:
    """Subject keys by subject and by id, read from the store once and then kept in memory."""

    def __init__(self, engine: Engine, folder: KeyFolder) -> None:
        self.folder = folder
        self._engine = engine
        self._by_subject: dict[str, SubjectKey] = {}
        self._by_id: dict[bytes, SubjectKey] = {}

    def new(self, subject: str, tenant_id: str) -> tuple[SubjectKey, SubjectKeyRow]:
        """A fresh key and the row to create with it; not yet in the ring."""
        made, wrapped = self.folder.new_subject_key(subject)
        row = SubjectKeyRow(
            id=_row_id(made.key_id),
            tenant_id=tenant_id,
            subject=subject,
            master_key_id=wrapped.master_key_id,
            wrapped=wrapped.wrapped,
        )
        return made, row

    async def of(self, subject: str) -> SubjectKey:
        """The key that seals for a subject; KeyMissing."""
        known = self._by_subject.get(subject)
        if known is None:
            selection = Selection(
                schema=schema_of(SubjectKeyRow),
                tenant_id=None,
                where=SubjectKeyRow.subject == subject,
                limit=1,
            )
            rows = await self._engine.select(selection)
            if not rows:
                raise KeyMissing(f"there is no data key of {subject}")
            known = self._keep(rows[0].record)
        return known

    async def load(self, key_id: bytes) -> dict[bytes, SubjectKey]:
        """A mapping that holds the key with this id; KeyMissing if it is gone (erased)."""
        if key_id not in self._by_id:
            stored = await self._engine.fetch(schema_of(SubjectKeyRow), None, _row_id(key_id))
            if stored is None:
                raise KeyMissing(f"the data key {key_id.hex()} is not in the store")
            self._keep(stored.record)
        return self._by_id

    def forget(self, subject: str) -> None:
        """After an erasure: the key is to be nowhere in memory either."""
        known = self._by_subject.pop(subject, None)
        if known is not None:
            self._by_id.pop(known.key_id, None)

    def _keep(self, row: SubjectKeyRow) -> SubjectKey:
        key_id = bytes.fromhex(row.id.removeprefix("sjk_"))
        found = self.folder.unwrap(WrappedKey(row.subject, key_id, row.master_key_id, row.wrapped))
        self._by_subject[row.subject] = found
        self._by_id[key_id] = found
        return found


def _row_id(key_id: bytes) -> str:
    return f"sjk_{key_id.hex()}"
