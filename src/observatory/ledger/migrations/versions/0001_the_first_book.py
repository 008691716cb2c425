"""The first book: seven records, and the coverage that follows from the releases."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
JSONS = sa.JSON().with_variant(JSONB(), "postgresql").with_variant(sa.Text(), "sqlite")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates the tables, and puts in the table types that are there from the start."""
    record("organisations", text("name"), extras(), sa.UniqueConstraint("name", name="uq_organisations_name"))
    typed("workflow_types")
    typed("table_types", sa.Column("granularity", sa.Text))
    typed("dataset_types", extras(), related("dataset_types", "table_type"))
    record(
        "workflows",
        text("name"),
        text("tags"),
        extras(),
        related("workflows", "organisation"),
        related("workflows", "workflow_type"),
        sa.UniqueConstraint("organisation_id", "name", name="uq_workflows_organisation_id_name"),
    )
    record(
        "datasets",
        text("name"),
        text("service"),
        text("address"),
        extras(),
        related("datasets", "workflow"),
        related("datasets", "dataset_type"),
        sa.UniqueConstraint("workflow_id", "name", name="uq_datasets_workflow_id_name"),
    )
    releases()
    follows()
    index("dataset_types", "table_type_id")
    index("workflows", "organisation_id")
    index("workflows", "workflow_type_id")
    index("datasets", "workflow_id")
    index("datasets", "dataset_type_id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX ix_workflows_tags ON workflows USING gin ((tags::jsonb) jsonb_path_ops)")
    furnish()


def downgrade() -> None:
    """Removes all tables, and with them all that is in the book."""
    for name in ("coverage", "holdings", "dataset_releases", "datasets", "workflows"):
        op.drop_table(name)
    for name in ("dataset_types", "table_types", "workflow_types", "organisations"):
        op.drop_table(name)


def record(name: str, *items: sa.schema.SchemaItem) -> None:
    """Creates a table with what every record has."""
    op.create_table(
        name,
        sa.Column("id", BIG, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("modified", MOMENT, nullable=False),
        sa.Column("version", BIG, nullable=False),
        *items,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sqlite_autoincrement=True,
    )


def typed(name: str, *items: sa.schema.SchemaItem) -> None:
    """Creates a table of types, which are known by their type_id."""
    unique = sa.UniqueConstraint("type_id", name=f"uq_{name}_type_id")
    record(name, text("type_id"), text("name"), *items, unique)


def releases() -> None:
    """Creates the table of releases."""
    record(
        "dataset_releases",
        sa.Column("start_date", MOMENT, nullable=False),
        sa.Column("end_date", MOMENT, nullable=False),
        sa.Column("version_label", sa.Text),
        sa.Column("published", MOMENT),
        sa.Column("ingestion_start", MOMENT),
        sa.Column("ingestion_end", MOMENT),
        sa.Column("row_count", BIG),
        sa.Column("digest", sa.Text),
        sa.Column("run", JSONS),
        sa.Column("revision", BIG, nullable=False),
        text("state"),
        sa.Column("reason", sa.Text),
        sa.Column("extras", JSONS),
        related("dataset_releases", "dataset"),
        sa.UniqueConstraint(
            "dataset_id",
            "start_date",
            "end_date",
            "revision",
            name="uq_dataset_releases_dataset_id_start_date_end_date_revision",
        ),
        sa.CheckConstraint("start_date <= end_date", name="ck_dataset_releases_period"),
    )
    instants = sa.text("start_date = end_date")
    op.create_index(
        "ix_dataset_releases_instants",
        "dataset_releases",
        ["dataset_id", "start_date"],
        sqlite_where=instants,
        postgresql_where=instants,
    )


def follows() -> None:
    """Creates the tables of what follows from the releases."""
    op.create_table("holdings", of_dataset("holdings"), sa.Column("longest", BIG, nullable=False))
    op.create_table(
        "coverage",
        of_dataset("coverage", primary_key=False),
        sa.Column("start_date", MOMENT, nullable=False),
        sa.Column("end_date", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "start_date", name="pk_coverage"),
    )


def of_dataset(table: str, primary_key: bool = True) -> sa.Column[int]:
    """A dataset, with whose row this one goes."""
    name = f"fk_{table}_dataset_id_datasets"
    goes = sa.ForeignKey("datasets.id", name=name, ondelete="CASCADE")
    return sa.Column("dataset_id", BIG, goes, primary_key=primary_key, nullable=False, autoincrement=False)


def text(name: str) -> sa.Column[str]:
    """A text that must be there."""
    return sa.Column(name, sa.Text, nullable=False)


def extras() -> sa.Column[object]:
    """What the caller wants to keep beside the fields."""
    return sa.Column("extras", JSONS, nullable=False)


def related(table: str, field: str) -> sa.Column[int]:
    """A related record, by its id."""
    key = sa.ForeignKey(f"{field}s.id", name=f"fk_{table}_{field}_id_{field}s")
    return sa.Column(f"{field}_id", BIG, key, nullable=False)


def index(table: str, column: str) -> None:
    """Creates the index of a relation."""
    op.create_index(f"ix_{table}_{column}", table, [column])


def furnish() -> None:
    """Puts in the three table types."""
    now = datetime.now(UTC)
    moment = now if op.get_bind().dialect.name == "postgresql" else now.isoformat(timespec="microseconds")
    columns = ["created", "modified", "version", "type_id", "name", "granularity"]
    table = sa.table("table_types", *map(sa.column, columns))
    kinds = {"regular": None, "sharded": "day", "partitioned": "day"}
    rows = [
        (moment, moment, 1, type_id, type_id.capitalize(), granularity)
        for type_id, granularity in kinds.items()
    ]
    op.execute(table.insert().values(rows))
