"""`list get create update delete`, the same for every plain record."""

import sys
import warnings
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from ..client import ListWasCut, ObservatoryApi
from ..records import Record
from .book import opened
from .keys import WrongUsage, article, fields_of, id_of, key_form, plural, singular, words
from .options import filters_of, filters_said, option, options_of, record_said
from .show import write
from .tables import Output, write_record, write_records

# What of a record is told one by one, since it would leave no room for the others in a row.
LONG = {"extras", "cadence", "shrink_guard", "inputs"}


def resource(kind: type[Record]) -> typer.Typer:
    """Returns the commands of the records of a kind."""
    short = f"{words(kind).capitalize()}s: list, get, create, update, delete."
    group = typer.Typer(no_args_is_help=True, help=kind.__doc__, short_help=short)
    for make in (_list, _get, _create, _update, _delete):
        group.command(make.__name__.removeprefix("_"))(make(kind))
    return group


def complete(ask: Callable[[], Any]) -> Any:
    """Returns what is asked for; where a limit cut it, says so beside the list."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ListWasCut)
        answer = ask()
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr)
    return answer


def _list(kind: type[Record]) -> Callable[..., None]:
    def command(context: typer.Context, output: str, **said: Any) -> None:
        with opened(context) as api:
            asked = filters_said(api, said)
            found = complete(lambda: getattr(api, f"get_{plural(kind)}")(**asked))
        write_records(found, ["id", *(f for f in fields_of(kind) if f not in LONG)], output)

    what = words(kind) + "s"
    return declared(command, f"Lists the {what}: all, or those that are asked for.", filters_of(kind))


def _get(kind: type[Record]) -> Callable[..., None]:
    def command(context: typer.Context, which: str, output: str, **said: Any) -> None:
        with opened(context) as api:
            write_record(_fetched(api, kind, which, **said), output)

    then = [one for one in filters_of(kind) if one.name == "as_of"]
    return declared(command, f"Shows {article(kind)}.", [_which(kind), *then])


def _create(kind: type[Record]) -> Callable[..., None]:
    def command(context: typer.Context, output: str, **said: Any) -> None:
        with opened(context) as api:
            record = record_said(api, kind, said)
            write_record(getattr(api, f"post_{singular(kind)}")(record), output)

    return declared(command, f"Creates {article(kind)}, and shows it.", options_of(kind))


def _update(kind: type[Record]) -> Callable[..., None]:
    def command(context: typer.Context, which: str, output: str, version: int | None, **said: Any) -> None:
        if all(value is None or value == [] for value in said.values()):
            raise WrongUsage(
                f"say what to change of the {words(kind)}: see `observatory {kind.path} update --help`"
            )
        with opened(context) as api:
            record = record_said(api, kind, said)
            record.id = id_of(api, kind, which)
            if version is not None:
                record.version = version
            write_record(getattr(api, f"put_{singular(kind)}")(record), output)

    help = "The version that it must still have; else somebody changed it since."
    version = option("version", int, help, min=1, metavar="NUMBER")
    doc = f"Changes the given fields of {article(kind)}, and shows it."
    return declared(command, doc, [_which(kind), *options_of(kind), version])


def _delete(kind: type[Record]) -> Callable[..., None]:
    def command(context: typer.Context, which: str) -> None:
        with opened(context) as api:
            id = id_of(api, kind, which)
            getattr(api, f"delete_{singular(kind)}")(id)
        write(f"deleted {words(kind)} {id}\n")

    return declared(command, f"Removes {article(kind)} that nothing refers to.", [_which(kind)], output=False)


def _which(kind: type[Record]) -> Parameter:
    help = f"Which {words(kind)}: its id or its {key_form(kind)}."
    annotation = Annotated[str, typer.Argument(help=help, metavar=singular(kind).upper())]
    return Parameter("which", Parameter.KEYWORD_ONLY, annotation=annotation)


def _fetched(api: ObservatoryApi, kind: type[Record], which: str, **said: Any) -> Record:
    record: Record = getattr(api, f"get_{singular(kind)}")(id_of(api, kind, which), **said)
    return record


def declared(
    command: Callable[..., None], doc: str, options: list[Parameter], output: bool = True
) -> Callable[..., None]:
    """Gives a command the options that Typer reads from its signature; only here are they known."""
    parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context), *options]
    if output:
        parameters.append(Parameter("output", Parameter.KEYWORD_ONLY, default="table", annotation=Output))
    command.__doc__ = doc
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # functions have it when it is set
    return command
