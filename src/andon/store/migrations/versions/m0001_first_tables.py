"""The first tables, and an append-only journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    _journal()
    _facts()
    _work()
    _measurements()


def downgrade() -> None:
    """Drop everything."""
    for table in ("windows", "offsets", "leases", "items", "states", "records", "events"):
        op.drop_table(table)


def _journal() -> None:
    op.create_table(
        "events",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("wall_us", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(64), nullable=False, index=True),
        sa.Column("subject", sa.String(256), nullable=False, index=True),
        sa.Column("actor", sa.String(256), nullable=False, index=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER events_no_{verb.lower()} BEFORE {verb} ON events"
                " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION andon_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events"
        " FOR EACH ROW EXECUTE FUNCTION andon_append_only()"
    )


def _facts() -> None:
    op.create_table(
        "records",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "states",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(256), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def _work() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.String(256), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("risk", sa.Float, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("decided_us", sa.BigInteger, nullable=False),
        sa.Column("outboxed", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("items_queue", "items", ["state", "risk", "due_us"])
    op.create_index("items_due", "items", ["state", "due_us"])
    op.create_index("items_outbox", "items", ["state", "outboxed", "decided_us"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("ttl_us", sa.BigInteger, nullable=False),
        sa.Column("expires_wall_us", sa.BigInteger, nullable=False),
    )


def _measurements() -> None:
    op.create_table(
        "offsets",
        sa.Column("consumer", sa.String(128), primary_key=True),
        sa.Column("stream", sa.String(128), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "windows",
        sa.Column("metric", sa.String(128), primary_key=True),
        sa.Column("cohort", sa.String(256), primary_key=True),
        sa.Column("start_us", sa.BigInteger, primary_key=True),
        sa.Column("length_us", sa.BigInteger, primary_key=True),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_index("windows_time", "windows", ["start_us"])
