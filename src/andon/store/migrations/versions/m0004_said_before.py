"""Who answered a case before: they are not offered a second look at it. No older item is one, so there is nothing to fill."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = ("said_1", "said_2")


def upgrade() -> None:
    """Add the columns."""
    for name in _COLUMNS:
        op.add_column("items", sa.Column(name, sa.String(256), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    for name in _COLUMNS:
        op.drop_column("items", name)
