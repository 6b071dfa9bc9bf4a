"""Records: schemas as values, typed entities, the unit, and the port that engines implement."""

from thane.kernel.records.engine import ROOT_LOG, Committed, Engine, Measure, Walked
from thane.kernel.records.entity import Field, Index, Record, col, entity, field, key, ref, schema_of
from thane.kernel.records.predicate import Column, Order, Predicate, all_of
from thane.kernel.records.prepare import Entrant
from thane.kernel.records.schema import OnDelete, Registry, Schema
from thane.kernel.records.store import Records, Result
from thane.kernel.records.unit import Unit

__all__ = [
    "ROOT_LOG",
    "Column",
    "Committed",
    "Engine",
    "Entrant",
    "Field",
    "Index",
    "Measure",
    "OnDelete",
    "Order",
    "Predicate",
    "Record",
    "Records",
    "Registry",
    "Result",
    "Schema",
    "Unit",
    "Walked",
    "all_of",
    "col",
    "entity",
    "field",
    "key",
    "ref",
    "schema_of",
]
