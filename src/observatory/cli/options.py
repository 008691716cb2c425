"""The options of a command, made of the fields of a record or of the filters of a list, and read again."""

import inspect
import json
from datetime import datetime
from inspect import Parameter
from typing import Annotated, Any, Literal, get_args

import msgspec
import typer

from ..client import ObservatoryApi
from ..records import KINDS, Cadence, Dataset, Record, relations
from .keys import WrongUsage, fields_of, find, key_form, plural, singular, words
from .times import typed_time

Said = dict[str, Any]
AS_OF = "What the book said at this time."
NONE = "none"  # said instead of a choice, to have none of them

FIELDS = {
    "type_id": "What it is known by.",
    "name": "What it is called.",
    "granularity": "How long a period each of its tables or partitions holds.",
    "service": "What stores it, such as bigquery or duckdb.",
    "address": "Where it is there, such as project.dataset.table.",
    "extras": "What else is kept of it, as a JSON object.",
    "cadence": "When periods of it are expected, as a JSON object with cron and expected_from.",
    "shrink_guard": "How many percent of its offers a source may withdraw at once.",
}

BY_ID = {f"{singular(kind)}_id": kind for kind in KINDS}


def option(name: str, kind: Any, help: str, **more: Any) -> Parameter:
    """Returns an option that need not be given, as a parameter of the command."""
    annotation = Annotated[kind | None, typer.Option(help=help, **more)]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def options_of(kind: type[Record]) -> list[Parameter]:
    """Returns the options that say the fields of a record."""
    made: list[Parameter] = []
    for field in fields_of(kind):
        if field in relations(kind):
            made += _related(f"{field}_id", "Its")
        elif field == "tags":
            made.append(option("tags", str, "Its tags, with commas between them.", metavar="TAG,TAG"))
            made.append(option("tag", list[str], "One of its tags; may be repeated.", metavar="TAG"))
        elif field in ("extras", "cadence"):
            made.append(option(field, str, FIELDS[field], metavar="JSON"))
        elif field == "shrink_guard":
            made.append(option(field, int, FIELDS[field], min=0, max=100, metavar="PERCENT"))
        elif field == "inputs":
            help = "A dataset that it is made from, as organisation/workflow/dataset; may be repeated."
            made.append(option("input", list[str], help, metavar="DATASET"))
            help = "The id of a dataset that it is made from; may be repeated."
            made.append(option("input_id", list[int], help, min=1, metavar="ID"))
        elif choices := _choices(kind, field):
            made.append(option(field, Literal[(*choices, NONE)], FIELDS[field]))
        else:
            made.append(option(field, str, FIELDS[field], metavar=field.upper()))
    return made


def filters_of(kind: type[Record]) -> list[Parameter]:
    """Returns the options that say what of a list is asked for: the same as the client's."""
    made: list[Parameter] = []
    for name in list(inspect.signature(getattr(ObservatoryApi, f"get_{plural(kind)}")).parameters)[1:]:
        if name == "limit":
            made.append(option(name, int, "The most to list; without it, all.", min=0, metavar="NUMBER"))
        elif name == "as_of":
            made.append(option(name, datetime, AS_OF, parser=typed_time, metavar="TIME"))
        elif name in BY_ID:
            made += _related(name, "Only those of this")
        else:
            made.append(option(name, str, f"Only those with this {name}.", metavar=name.upper()))
    return made


def record_said(api: ObservatoryApi, kind: type[Record], said: Said) -> Record:
    """Returns the record that the options describe; what is not said is not given."""
    given = _with_ids(api, said)
    fields: Said = {field: given[field] for field in fields_of(kind) if field in given}
    for field, other in relations(kind).items():
        if f"{field}_id" in given:
            fields[field] = other(id=given[f"{field}_id"])
    if "tags" in given or "tag" in given:
        listed = [tag.strip() for tag in given.get("tags", "").split(",") if tag.strip()]
        fields["tags"] = json.dumps([*listed, *given.get("tag", [])], ensure_ascii=False)
    if "input_id" in given or "input" in given:
        named = [find(api, Dataset, key).id for key in given.get("input", [])]
        fields["inputs"] = [*given.get("input_id", []), *named]
    if "cadence" in given:
        fields["cadence"] = msgspec.convert(json_object("--cadence", given["cadence"]), Cadence)
    if "extras" in given:
        fields["extras"] = json_object("--extras", given["extras"])
    fields |= {field: None for field in fields if fields[field] == NONE and _choices(kind, field)}
    return kind(**fields)


def filters_said(api: ObservatoryApi, said: Said) -> Said:
    """Returns what the client is asked for."""
    return _with_ids(api, said)


def json_object(option: str, text: str) -> dict[str, Any]:
    """Returns the JSON object that an option holds."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUsage(f'{option} is not JSON: {error}; quote it, as in \'{{"contact": "Ann"}}\'') from None
    if not isinstance(said, dict):
        raise WrongUsage(f'{option} must be a JSON object, as in \'{{"contact": "Ann"}}\'')
    return said


def _related(name: str, whose: str) -> list[Parameter]:
    """Returns the two options that say a related record: by its id, and by its key."""
    kind = BY_ID[name]
    by_key = option(
        singular(kind), str, f"{whose} {words(kind)}, as {key_form(kind)}.", metavar=singular(kind).upper()
    )
    return [by_key, option(name, int, f"{whose} {words(kind)}, by its id.", min=1, metavar="ID")]


def _with_ids(api: ObservatoryApi, said: Said) -> Said:
    """Returns what is given; related records by their ids, which are looked up where keys are said."""
    given = {name: value for name, value in said.items() if value is not None and value != []}
    for name, kind in BY_ID.items():
        if (key := given.pop(singular(kind), None)) is None:
            continue
        if name in given:
            flag = singular(kind).replace("_", "-")
            raise WrongUsage(f"--{flag} and --{flag}-id say the same: give one of them")
        given[name] = find(api, kind, key).id
    return given


def _choices(kind: type[Record], field: str) -> tuple[str, ...]:
    """Returns the values that a field can have, if they are few: its type is Literal[…] or None."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return tuple(choice for part in get_args(types[field]) for choice in get_args(part))
