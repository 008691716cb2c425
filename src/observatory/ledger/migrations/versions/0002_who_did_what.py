"""Who did what: accounts and keys, the journal and its seals, what was answered, the digest of addresses.

Servers of the version before go on working: they know nothing of what is new, and all of it may be absent.
What they change is not in the journal, so they are not to run for longer than an upgrade takes.
"""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What of each record the first entry about it says; a related record is a column ending in _id.
FIRST = {
    "Organisation": ("organisations", "{t}.id", "NULL", ["name", "extras"]),
    "WorkflowType": ("workflow_types", "NULL", "NULL", ["type_id", "name"]),
    "TableType": ("table_types", "NULL", "NULL", ["type_id", "name", "granularity"]),
    "DatasetType": ("dataset_types", "NULL", "NULL", ["type_id", "name", "extras", "table_type_id"]),
    "Workflow": (
        "workflows",
        "{t}.organisation_id",
        "NULL",
        ["name", "tags", "extras", "organisation_id", "workflow_type_id"],
    ),
    # Without its address: nothing of it may be read in the journal, and no key to hide it is known here.
    "Dataset": (
        "datasets",
        "(SELECT organisation_id FROM workflows WHERE workflows.id = {t}.workflow_id)",
        "{t}.id",
        ["name", "service", "extras", "workflow_id", "dataset_type_id"],
    ),
    "DatasetRelease": (
        "dataset_releases",
        "(SELECT organisation_id FROM workflows JOIN datasets ON datasets.workflow_id = workflows.id"
        " WHERE datasets.id = {t}.dataset_id)",
        "{t}.dataset_id",
        [
            "start_date",
            "end_date",
            "version_label",
            "published",
            "ingestion_start",
            "ingestion_end",
            "row_count",
            "digest",
            "run",
            "revision",
            "state",
            "reason",
            "extras",
            "dataset_id",
        ],
    ),
}
KEPT = ["id", "created", "modified", "version"]
JSON_FIELDS = ("extras", "run")


def upgrade() -> None:
    """Creates the tables, and opens the journal with all that is in the book."""
    record("accounts", text("name"), text("grants"), unique("accounts", "name"))
    account = sa.ForeignKey("accounts.id", name="fk_keys_account_id_accounts", ondelete="CASCADE")
    record(
        "keys",
        sa.Column("expires", MOMENT, nullable=False),
        sa.Column("revoked", MOMENT),
        sa.Column("last_used", MOMENT),
        sa.Column("account_id", BIG, account, nullable=False),
        text("hash"),
    )
    op.create_index("ix_keys_account_id", "keys", ["account_id"])
    op.add_column("datasets", sa.Column("address_digest", sa.Text))
    op.create_index("ix_datasets_address_digest", "datasets", ["address_digest"])
    op.add_column("holdings", sa.Column("changes", BIG, nullable=False, server_default="0"))
    create_journal()
    create_beside_the_journal()
    op.execute(f"INSERT INTO book (id, shift, catalogue) VALUES ('{uuid4()}', 0, 0)")
    open_journal()
    protect()


def downgrade() -> None:
    """Removes them; the records themselves stay."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TABLE journal; DROP FUNCTION observatory_append_only")
    else:
        op.drop_table("journal")
    op.drop_index("ix_datasets_address_digest", "datasets")
    op.drop_column("datasets", "address_digest")
    op.drop_column("holdings", "changes")
    for name in ("keys", "accounts", "seals", "replies", "book"):
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


def create_journal() -> None:
    """Creates the table of the journal and its indexes."""
    op.create_table(
        "journal",
        sa.Column("sequence", BIG, sa.Identity(), nullable=False),
        sa.Column("place", BIG, nullable=False, server_default="0"),
        sa.Column("time", MOMENT, nullable=False),
        text("actor"),
        sa.Column("account_id", BIG),
        text("action"),
        text("kind"),
        sa.Column("record_id", BIG, nullable=False),
        sa.Column("organisation_id", BIG),
        sa.Column("dataset_id", BIG),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        text("request"),
        sa.PrimaryKeyConstraint("sequence", name="pk_journal"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_place", "journal", ["place", "sequence"])
    changes, deletes, reads = map(sa.text, ("action <> 'read'", "action = 'delete'", "action = 'read'"))
    for name, columns, where in (
        ("ix_journal_record_id", ["kind", "record_id", "sequence"], changes),
        ("ix_journal_dataset_id", ["dataset_id", "kind", "sequence"], changes),
        ("ix_journal_deletes", ["dataset_id"], deletes),
        ("ix_journal_reads", ["dataset_id", "account_id", "time"], reads),
    ):
        op.create_index(name, "journal", columns, postgresql_where=where, sqlite_where=where)


def create_beside_the_journal() -> None:
    """Creates the tables of seals, of answers and of what there is one of."""
    op.create_table(
        "seals",
        sa.Column("number", BIG, nullable=False, autoincrement=False),
        sa.Column("place", BIG, nullable=False),
        sa.Column("sequence", BIG, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_seals"),
    )
    op.create_table(
        "replies",
        sa.Column("account_id", BIG, nullable=False, autoincrement=False),
        text("token"),
        text("asked"),
        sa.Column("answer", sa.Text),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "token", name="pk_replies"),
    )
    op.create_index("ix_replies_created", "replies", ["created"])
    op.create_table(
        "book",
        text("id"),
        sa.Column("shift", BIG, nullable=False),
        sa.Column("catalogue", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_book"),
    )


def open_journal() -> None:
    """Writes an entry for each record there is, so that what is told from the journal is whole."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    for kind, (table, organisation, dataset, fields) in FIRST.items():
        pairs = ", ".join(
            f"'{field.removesuffix('_id') if related(field) else field}', "
            f"{value(table, field, on_postgresql)}"
            for field in [*KEPT, *fields]
        )
        json = f"json_build_object({pairs})::text" if on_postgresql else f"json_object({pairs})"
        op.execute(
            "INSERT INTO journal (time, actor, action, kind, record_id, organisation_id, dataset_id, after,"
            f" request) SELECT '{now}', 'upgrade', 'create', '{kind}', {table}.id,"
            f" {organisation.format(t=table)}, {dataset.format(t=table)}, {json}, ''"
            f" FROM {table} ORDER BY {table}.id"
        )


def related(field: str) -> bool:
    """Tells whether a field is a related record."""
    return field.endswith("_id") and field != "type_id"


def value(table: str, field: str, on_postgresql: bool) -> str:
    """Returns the SQL for a field as it is in JSON."""
    column = f"{table}.{field}"
    if related(field):
        return f"json_build_object('id', {column})" if on_postgresql else f"json_object('id', {column})"
    if field in JSON_FIELDS and not on_postgresql:
        return f"json({column})"
    return column


def protect() -> None:
    """Lets nobody change or remove an entry."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION observatory_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the journal is only added to'; END $$"
        )
        op.execute(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal"
            " FOR EACH STATEMENT EXECUTE FUNCTION observatory_append_only()"
        )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER journal_{event.lower()} BEFORE {event} ON journal"
            " BEGIN SELECT RAISE(ABORT, 'the journal is only added to'); END"
        )


def text(name: str) -> sa.Column[str]:
    """A text that must be there."""
    return sa.Column(name, sa.Text, nullable=False)


def unique(table: str, column: str) -> sa.UniqueConstraint:
    """The constraint that a column tells the rows of a table apart."""
    return sa.UniqueConstraint(column, name=f"uq_{table}_{column}")
