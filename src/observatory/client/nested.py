"""The catalogue in memory: what the lists of the server answer, from its whole contents. Pure."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Annotated, Any

import msgspec

from ..errors import Invalid, NotFound, Refused
from ..records import (
    PRINTABLE,
    Contents,
    Dataset,
    DatasetType,
    Organisation,
    R,
    Record,
    TableType,
    Workflow,
    WorkflowType,
    is_given,
    relations,
)

# As the ledger has them, but for the address, which only the book knows.
FILTERS: dict[type[Record], tuple[str, ...]] = {
    Organisation: ("name",),
    WorkflowType: ("type_id",),
    TableType: ("type_id",),
    DatasetType: ("table_type_id", "type_id"),
    Workflow: ("organisation_id", "workflow_type_id", "name", "tag"),
    Dataset: ("workflow_id", "dataset_type_id", "organisation_id", "service", "name", "tag"),
}
RELATED: dict[str, type[Record]] = {
    "organisation_id": Organisation,
    "workflow_id": Workflow,
    "workflow_type_id": WorkflowType,
    "table_type_id": TableType,
    "dataset_type_id": DatasetType,
}
_ID = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_TEXT = Annotated[str, msgspec.Meta(max_length=2000, pattern=PRINTABLE)]


class Nested:
    """All records of a catalogue, each with those that it refers to nested in it.

    Raises Refused for contents in which a record refers to what is not there: they are not whole.
    """

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.by_id: dict[type[Record], dict[int, Any]] = {
            kind: {one.id: one for one in getattr(contents, kind.path.replace("-", "_"))} for kind in FILTERS
        }
        self._found: dict[tuple[type[Record], str], dict[Any, list[Any]]] = {}
        for kind, records in self.by_id.items():
            if not all(map(is_given, records)):
                raise Refused(f"a {kind.__name__} of the catalogue has no id")
            for field, other in relations(kind).items():
                self._nest(records.values(), field, self.by_id[other])

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a DAG could be made from."""
        return not (self.contents.organisations or self.contents.workflows or self.contents.datasets)

    def one(self, kind: type[R], id: int) -> R:
        """Returns a record by its id; raises NotFound where there is none."""
        id = _checked({"id": id})["id"]
        if id not in self.by_id[kind]:
            raise NotFound(f"{kind.__name__} {id} does not exist")
        return copy(self.by_id[kind][id])  # type: ignore[no-any-return] # of the kind

    def all(self, kind: type[R], asked: Mapping[str, Any]) -> list[R]:
        """Returns the records by id that fit the filters; raises NotFound for a filter that names nothing."""
        wanted = _checked({name: value for name, value in asked.items() if value is not None})
        if not wanted:
            return list(map(copy, self.by_id[kind].values()))
        found = [self._index(kind, name).get(value, []) for name, value in wanted.items()]
        least, *others = sorted(found, key=len)
        kept = [{one.id for one in other} for other in others]
        fitting = [copy(one) for one in least if all(one.id in ids for ids in kept)]
        for name in FILTERS[kind] if not fitting else ():
            if name in wanted and name in RELATED:
                self.one(RELATED[name], wanted[name])
        return fitting

    def _index(self, kind: type[Record], name: str) -> dict[Any, list[Any]]:
        """Returns the records by what they have for a filter; a file asks for the same one in a loop."""
        if (kind, name) not in self._found:
            index: dict[Any, list[Any]] = {}
            for one in self.by_id[kind].values():
                for value in _values(one, name):
                    index.setdefault(value, []).append(one)
            self._found[kind, name] = index
        return self._found[kind, name]

    def _nest(self, records: Iterable[Any], field: str, others: Mapping[int, Any]) -> None:
        for one in records:
            try:
                setattr(one, field, others[getattr(one, field).id])
            except (KeyError, AttributeError):
                raise Refused(f"{type(one).__name__} {one.id} of the catalogue refers to nothing") from None


def _values(record: Any, name: str) -> Iterable[Any]:
    """Returns what a record has for a filter: one value, or each of its tags once."""
    of = record.workflow if isinstance(record, Dataset) and name in ("tag", "organisation_id") else record
    if name == "tag":
        return dict.fromkeys(msgspec.json.decode(of.tags, type=list[str]))
    return [getattr(of, name.removesuffix("_id")).id if name in RELATED else getattr(of, name)]


def _checked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is asked for as the server reads it; raises Invalid for what it would not take."""
    checked: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in asked.items():
        try:
            if name in RELATED or name == "id":
                checked[name] = msgspec.convert(value, type=_ID, strict=False)
            else:
                checked[name] = msgspec.convert(str(value), type=_TEXT)
        except msgspec.ValidationError as error:
            wrong[name] = str(error)
    if wrong:
        raise Invalid("a parameter is not what is expected", wrong)
    return checked
