"""`observatory probe`, `offers` and `status`: what sources offer, and how it stands with datasets."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from ..records import Dataset, Outcome, Status
from .book import opened
from .keys import WrongUsage, id_of
from .missing import SOMETHING_IS_MISSING, Most, Tag, WhichOrganisation, WhichWorkflow, asked_of
from .offering import offers_of
from .periods import counted, lasting
from .releases import Which
from .resources import complete
from .source_text import source_text
from .tables import Coloured, Output, write_fields, write_json, write_table

OFFERED = ["start_date", "end_date", "version_label", "published", "size", "digest"]
OFFERED += ["first_seen", "last_seen", "gone", "restated"]
COLOURS = {"complete": "green", "due": "cyan", "incomplete": "yellow", "late": "red", "unknown": "dim"}


def probe(
    context: typer.Context,
    dataset: Which,
    offers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the source offers; - is standard input."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="It is a part of what the source has: nothing is gone.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="The source could not be looked at.")] = False,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What went wrong, where it failed.")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="The source has really dropped so many of its offers.")
    ] = False,
    output: Output = "table",
) -> None:
    """Tells what the source of a dataset offers now, and shows what that changed.

    The offers are a JSON object on each line, or CSV, with start_date, end_date, and as far as known
    version_label, published, size and digest. What was offered before and is not among them is gone, unless
    it is a part only; where that is too much at once, it is refused without --confirm.
    """
    outcome = _outcome(offers, partial, failed)
    told = list(offers_of(source_text(offers, "type the offers"))) if offers else []
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        changed = api.probe(id, told, outcome=outcome, error=error, confirm=confirm)
    if output == "json":
        write_json(changed)
    else:
        write_fields(structs.asdict(changed))


def offers(context: typer.Context, dataset: Which, limit: Most = None, output: Output = "table") -> None:
    """Lists what the source of a dataset offers, or once offered, by period."""
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        found = complete(lambda: api.get_offers(id, limit))
    if output == "json":
        write_json(found)
    else:
        write_table(OFFERED, [[getattr(one, field) for field in OFFERED] for one in found])


def status(
    context: typer.Context,
    workflow: WhichWorkflow = None,
    organisation: WhichOrganisation = None,
    tag: Tag = None,
    status: Annotated[Status | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Most = None,
    output: Output = "table",
) -> None:
    """Lists how it stands with datasets: how far their data reaches, and what their sources said last.

    Ends with 3 when some of them are late or incomplete, with 0 when none is.
    """
    with opened(context) as api:
        asked = asked_of(api, None, workflow, organisation)
        found = complete(lambda: api.get_statuses(limit, **asked, tag=tag, status=status))
    if output == "json":
        write_json(found)
    else:
        fields = ["dataset", "status", "newest", "lag", "late_since", "probed", "probe"]
        write_table(fields, [_row(one) for one in found])
    bad = {one: sum(of.status == one for of in found) for one in ("late", "incomplete")}
    if any(bad.values()):
        said = " and ".join(f"{number} {one}" for one, number in bad.items() if number)
        print(f"of {counted(len(found), 'dataset')}, {said}", file=sys.stderr)
        raise typer.Exit(SOMETHING_IS_MISSING)


def _outcome(offers: Path | None, partial: bool, failed: bool) -> Outcome:
    if partial and failed:
        raise WrongUsage("--partial and --failed say different things: give one of them")
    if failed and offers:
        raise WrongUsage(
            "a source that could not be looked at offers nothing: leave out --offers or --failed"
        )
    if not (failed or offers):
        raise WrongUsage("give --offers FILE, or --failed with the --error")
    return "failed" if failed else "partial" if partial else "complete"


def _row(one: Any) -> list[Any]:
    lag = None if one.lag is None else lasting(one.lag)
    said = one.probe_outcome if not one.probe_error else f"{one.probe_outcome}: {one.probe_error}"
    return [
        one.dataset,
        Coloured(one.status, COLOURS[one.status]),
        one.newest,
        lag,
        one.late_since,
        one.probed,
        said,
    ]
