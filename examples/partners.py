"""What the DAGs that add up the sales of partners share: whose tables there are, and their sum in DuckDB."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from observatory import Dataset, Invalid, ObservatoryApi
from observatory.naming import address_to_fields

DATA = Path(os.environ.get("OBSERVATORY_DATA", "data"))


@dataclass(frozen=True)
class SalesPartner:
    """A dataset of sales, and which of its columns say what was sold, and how often.

    Where its table is, a task asks when it runs: it may have moved since the DAG file was read.
    """

    dataset_id: int
    dataset_name: str
    book_field: str | None
    sales_field: str | None


def partner_of(dataset: Dataset) -> SalesPartner:
    """Returns what the book says of a partner; what it does not say fails the sum, and not the DAG file."""
    extras = dataset.dataset_type.extras
    return SalesPartner(dataset.id, dataset.name, extras.get("book_field"), extras.get("sales_field"))


def copies_sold(
    api: ObservatoryApi, partners: Sequence[SalesPartner], month: str | None = None
) -> list[dict[str, Any]]:
    """Returns how many copies of each book were sold by how many partners, in all or in a month as 202608.

    Raises Unavailable where the book cannot be asked, and errors of DuckDB where a table cannot be read.
    """
    with duckdb.connect() as connection:
        sales = " UNION ALL ".join(
            _sales(connection, api.get_dataset(one.dataset_id), one) for one in partners
        )
        totals = connection.execute(
            f"""
            SELECT book, sum(copies)::BIGINT AS copies, count(DISTINCT partner) AS partners
            FROM ({sales}) WHERE $1 IS NULL OR month = $1 GROUP BY book ORDER BY copies DESC, book
            """,
            [month],
        )
        columns = [name for name, *_ in totals.description]
        return [dict(zip(columns, row, strict=True)) for row in totals.fetchall()]


def _sales(connection: duckdb.DuckDBPyConnection, dataset: Dataset, partner: SalesPartner) -> str:
    """Returns the query for a partner's sales: its table has text only, as the partner sent it."""
    if partner.book_field is None or partner.sales_field is None:
        cure = "give the dataset's type book_field and sales_field in its extras"
        raise Invalid(f"nobody knows the columns of {dataset.name}", {"extras": cure})
    if dataset.service != "duckdb":
        raise Invalid(f"{dataset.name} is in {dataset.service}", {"service": "only duckdb is read here"})
    path, schema, table = address_to_fields("duckdb", dataset.address)
    connection.execute(f"ATTACH {_quoted(str(DATA / path), chr(39))} AS partner_{dataset.id} (READ_ONLY)")
    return f"""
        SELECT {dataset.id} AS partner, _partition AS month,
               replace({_quoted(partner.book_field)}, '-', '') AS book,
               {_quoted(partner.sales_field)}::BIGINT AS copies
        FROM partner_{dataset.id}.{_quoted(schema)}.{_quoted(table)}
    """


def _quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark
