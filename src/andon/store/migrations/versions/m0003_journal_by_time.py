"""The journal by time, so that a stretch of it is found without reading the rest."""

from __future__ import annotations

from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("events_time", "events", ["time_us", "sequence"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("events_time", "events")
