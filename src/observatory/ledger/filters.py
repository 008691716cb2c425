"""What a list of plain records can be asked for, as conditions on its rows.

A filter is named as its parameter is everywhere: in the client, the URL and the command line.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from ..records import Dataset, DatasetType, Organisation, Record, TableType, Workflow, WorkflowType
from .sealing import PREFIX
from .statements import among
from .tables import dataset_types, datasets, organisations, table_types, workflow_types, workflows


class has_tag(GenericFunction[bool]):  # noqa: N801 # named as the SQL function that it stands for
    """Whether a JSON list of tags, kept as text, holds a tag."""

    type = Boolean()
    inherit_cache = True


@compiles(has_tag, "postgresql")
def _on_postgresql(element: has_tag, compiler: Any, **kw: Any) -> str:
    tags, tag = [compiler.process(clause, **kw) for clause in element.clauses]
    # Written as the index on it is, which serves this operator.
    return f"({tags}::jsonb) @> jsonb_build_array({tag}::text)"


@compiles(has_tag, "sqlite")
def _on_sqlite(element: has_tag, compiler: Any, **kw: Any) -> str:
    tags, tag = [compiler.process(clause, **kw) for clause in element.clauses]
    return f"{tag} IN (SELECT value FROM json_each({tags}))"


FILTERS: dict[type[Record], dict[str, ColumnElement[Any]]] = {
    Organisation: {"name": organisations.c.name},
    WorkflowType: {"type_id": workflow_types.c.type_id},
    Workflow: {
        "organisation_id": workflows.c.organisation_id,
        "workflow_type_id": workflows.c.workflow_type_id,
        "name": workflows.c.name,
    },
    TableType: {"type_id": table_types.c.type_id},
    DatasetType: {"table_type_id": dataset_types.c.table_type_id, "type_id": dataset_types.c.type_id},
    Dataset: {
        "workflow_id": datasets.c.workflow_id,
        "dataset_type_id": datasets.c.dataset_type_id,
        "organisation_id": workflows.c.organisation_id,
        "service": datasets.c.service,
        "address": datasets.c.address_digest,
        "name": datasets.c.name,
    },
}
TAGGED = (Workflow, Dataset)  # a dataset is found by the tags of its workflow


def owner(kind: type[Record]) -> ColumnElement[Any] | None:
    """Returns the column that says to which organisation a record belongs; None for what all share."""
    if kind is Organisation:
        return organisations.c.id
    return workflows.c.organisation_id if kind in (Workflow, Dataset) else None


def names(kind: type[Record]) -> dict[str, type]:
    """Returns the filters of a kind, with the type of what each is asked for."""
    asked: dict[str, type] = {
        name: int if name.endswith("_id") and name != "type_id" else str for name in FILTERS[kind]
    }
    return asked | ({"tag": str} if kind in TAGGED else {})


def condition(kind: type[Record], name: str, sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition for one filter, whose value is the parameter of its name."""
    if name == "tag" and kind in TAGGED:
        return has_tag(workflows.c.tags, bindparam("tag"))
    if name == "address":
        return _has_address(sqlite)
    return FILTERS[kind][name] == bindparam(name)


def _has_address(sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that a dataset has an address; its fingerprints, and itself, are the value.

    Servers of the version before keep an address as it is. They leave the digest, which is then of another.
    """
    digest, kept = datasets.c.address_digest, datasets.c.address
    sealed = and_(among(digest, "address", sqlite), kept.like(f"{PREFIX}%"))
    return or_(sealed, and_(digest.is_(None), among(kept, "address", sqlite)))
