"""What should be there: offers, cadences, claims, how it stands with each dataset, what was made from what.

Servers of the version before go on working: what they record is settled here by `database check --repair`,
since they know nothing of what is wanted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSONS = sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql").with_variant(sa.Text(), "sqlite")

HELD = (
    "widest",
    "newest",
    "late_since",
    "next_look",
    "probed",
    "probed_whole",
    "offers",
    "probe_outcome",
    "probe_error",
    "probe_digest",
)


def upgrade() -> None:
    """Creates the tables, and notes the newest settled period of each dataset."""
    op.add_column("datasets", sa.Column("cadence", JSONS))
    op.add_column("datasets", sa.Column("shrink_guard", BIG))
    op.add_column("datasets", sa.Column("inputs", JSONS, nullable=False, server_default="[]"))
    op.add_column("dataset_releases", sa.Column("made_from", JSONS))
    add_to_holdings()
    create_wanted()
    create_claims()
    create_derivations()
    note_newest()


def downgrade() -> None:
    """Removes them; the records themselves stay."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_index("ix_datasets_with_inputs" if on_sqlite else "ix_datasets_inputs", "datasets")
    op.drop_index("ix_dataset_releases_not_current", "dataset_releases")
    for name in ("derivations", "claims", "wanted"):
        op.drop_table(name)
    op.drop_index("ix_holdings_next_look", "holdings")
    op.drop_index("ix_holdings_status", "holdings")
    for name in (*HELD, "status", "horizon"):
        op.drop_column("holdings", name)
    op.drop_column("dataset_releases", "made_from")
    op.drop_column("datasets", "inputs")
    op.drop_column("datasets", "shrink_guard")
    op.drop_column("datasets", "cadence")


def add_to_holdings() -> None:
    """Adds how it stands with a dataset."""
    for column in (
        sa.Column("widest", BIG),
        sa.Column("status", sa.Text, nullable=False, server_default="unknown"),
        sa.Column("newest", MOMENT),
        sa.Column("late_since", MOMENT),
        sa.Column("next_look", MOMENT),
        sa.Column("probed", MOMENT),
        sa.Column("probed_whole", MOMENT),
        sa.Column("offers", BIG, nullable=False, server_default="0"),
        sa.Column("probe_outcome", sa.Text),
        sa.Column("probe_error", sa.Text),
        sa.Column("probe_digest", sa.Text),
        sa.Column("horizon", MOMENT),
    ):
        op.add_column("holdings", column)
    op.create_index("ix_holdings_status", "holdings", ["status"])
    op.create_index("ix_holdings_next_look", "holdings", ["next_look"])


def create_wanted() -> None:
    """Creates the table of what should be there, and its indexes."""
    dataset = sa.ForeignKey("datasets.id", name="fk_wanted_dataset_id_datasets", ondelete="CASCADE")
    op.create_table(
        "wanted",
        sa.Column("dataset_id", BIG, dataset, nullable=False, autoincrement=False),
        sa.Column("start_date", MOMENT, nullable=False),
        sa.Column("end_date", MOMENT, nullable=False),
        *(sa.Column(name, MOMENT) for name in ("due", "late", "first_seen", "last_seen", "gone")),
        sa.Column("version_label", sa.Text),
        sa.Column("published", MOMENT),
        sa.Column("size", BIG),
        sa.Column("digest", sa.Text),
        sa.Column("extras", JSONS),
        sa.Column("restated", MOMENT),
        sa.Column("withdrawn", MOMENT),
        sa.Column("reason", sa.Text),
        sa.Column("since", MOMENT),
        sa.Column("claim_id", BIG),
        sa.Column("claimed_until", MOMENT),
        sa.Column("failures", BIG, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("retry_at", MOMENT),
        sa.Column("edge", BIG),
        sa.PrimaryKeyConstraint("dataset_id", "start_date", "end_date", name="pk_wanted"),
    )
    period = ["dataset_id", "start_date", "end_date"]
    if op.get_bind().dialect.name == "postgresql":
        # For a dataset that came after the last ANALYZE it would expect a row, and go through all of them for
        # each that is looked up by its key. It is to expect many, always.
        op.execute("ALTER TABLE wanted ALTER COLUMN dataset_id SET (n_distinct = 10)")
    missing, late = "since IS NOT NULL", "since IS NOT NULL AND late IS NOT NULL"
    for name, columns, where in (
        ("missing", period, missing),
        ("since", ["dataset_id", "since"], missing),
        ("late", ["dataset_id", "late"], late),
        ("claim_id", ["claim_id"], "claim_id IS NOT NULL"),
        ("claimed", ["dataset_id", "claimed_until"], "claimed_until IS NOT NULL"),
        ("edge", period, "edge IS NOT NULL"),
        ("free", period, "since IS NOT NULL AND claimed_until IS NULL"),
        ("tried", period, "(claimed_until IS NOT NULL OR failures > 0) IS TRUE"),
    ):
        op.create_index(
            f"ix_wanted_{name}",
            "wanted",
            columns,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )


def create_claims() -> None:
    """Creates the table of who holds what is missing."""
    dataset = sa.ForeignKey("datasets.id", name="fk_claims_dataset_id_datasets", ondelete="CASCADE")
    op.create_table(
        "claims",
        sa.Column("id", BIG, nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("modified", MOMENT, nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("ended", MOMENT),
        sa.Column("periods", BIG, nullable=False),
        sa.Column("account_id", BIG),
        sa.Column("dataset_id", BIG, dataset, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_claims"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_claims_dataset_id", "claims", ["dataset_id"])


def create_derivations() -> None:
    """Creates the table of which release was made from which."""
    release = sa.ForeignKey(
        "dataset_releases.id", name="fk_derivations_release_id_dataset_releases", ondelete="CASCADE"
    )
    op.create_table(
        "derivations",
        sa.Column("release_id", BIG, release, nullable=False, autoincrement=False),
        sa.Column("input_id", BIG, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("release_id", "input_id", name="pk_derivations"),
    )
    op.create_index("ix_derivations_input_id", "derivations", ["input_id"])
    lost = sa.text("state IN ('withdrawn', 'superseded')")
    op.create_index(
        "ix_dataset_releases_not_current",
        "dataset_releases",
        ["id"],
        postgresql_where=lost,
        sqlite_where=lost,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_datasets_with_inputs", "datasets", ["id"], sqlite_where=sa.text("inputs <> '[]'"))
        return
    op.create_index(
        "ix_datasets_inputs",
        "datasets",
        ["inputs"],
        postgresql_using="gin",
        postgresql_ops={"inputs": "jsonb_path_ops"},
    )


def note_newest() -> None:
    """Notes the end of the newest settled period, which is kept with each change from here on."""
    settled = "state IN ('present', 'empty', 'unobtainable', 'expired')"
    op.execute(
        "UPDATE holdings SET newest = (SELECT max(end_date) FROM dataset_releases"
        f" WHERE dataset_releases.dataset_id = holdings.dataset_id AND {settled})"
    )
