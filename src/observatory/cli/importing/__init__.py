"""`observatory adopt-from`: releases that other books know of, taken into this one."""

import typer

from .airflow import airflow
from .bigquery import bigquery
from .delivered import delivered

HELP = """Takes into the book the releases of a dataset that something else knows of.

What is there already is left as it is, and so is what the book says otherwise, which is listed. With
--dry-run nothing is recorded, and all that would be is listed. Ends with 1 where there is a conflict. (A
whole book, as `observatory export --all` writes it, is put in by `observatory import`.)
"""

adopt_from = typer.Typer(no_args_is_help=True, help=HELP, short_help="Releases that something else knows of.")
adopt_from.command()(airflow)
adopt_from.command()(bigquery)
adopt_from.command("csv")(delivered)
