"""A book in a schema of its own, in a PostgreSQL that others use too.

The schema is told to each connection by its URL, and is the only one that is looked into: statements name
none, so that a book in a database of its own is just the same.
"""

import re
from urllib.parse import parse_qsl, quote, urlencode

from sqlalchemy import Connection, text

from ..errors import Invalid

# One that is the same with quotes and without.
NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")


def in_schema(url: str, schema: str) -> str:
    """Returns the URL of the book that a PostgreSQL keeps in a schema; raises Invalid for what names none."""
    if not NAME.fullmatch(schema):
        cure = "use small letters, digits and underscores, and begin with none of `pg_`"
        raise Invalid(f"{schema!r} cannot be the schema of a book", {"schema": cure})
    place, _, query = url.partition("?")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    asked["options"] = f"{asked.get('options', '')} -csearch_path={schema}".strip()
    return f"{place}?{urlencode(asked, quote_via=quote, safe='/')}"


def make_schema(connection: Connection) -> None:
    """Makes the schema that a connection was told to look into, if it is not there."""
    asked = text("SELECT current_setting('search_path'), current_schema()")
    [(told, found)] = connection.execute(asked).fetchall()
    if found is None and NAME.fullmatch(told):
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {told}"))
