"""Review items by whose they are, what they are and when something is due with them, for pages and held answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEXES = {
    "items_waiting": ["state", "kind", "created_us", "due_us"],
    "items_person": ["person", "state", "decided_by", "decided_us"],
    "items_wake": ["state", "wake_us"],
}
_TEXTS = (("kind", 16), ("person", 256), ("decided_by", 16))
_TIMES = ("created_us", "wake_us")


def upgrade() -> None:
    """Add the columns, fill them from the items' bodies, index them."""
    for name, length in _TEXTS:
        op.add_column("items", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    for name in _TIMES:
        op.add_column("items", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    _fill()
    for index, columns in _INDEXES.items():
        op.create_index(index, "items", columns)


def downgrade() -> None:
    """Drop them."""
    for index in _INDEXES:
        op.drop_index(index, "items")
    for name in (*(name for name, _ in _TEXTS), *_TIMES):
        op.drop_column("items", name)


def _fill() -> None:
    """A default is left out of a body: an absent ``decided_by`` is "nobody"."""
    sqlite = op.get_bind().dialect.name == "sqlite"

    def part(name: str) -> str:
        return f"json_extract(body, '$.{name}')" if sqlite else f"(body::json ->> '{name}')"

    def number(name: str) -> str:
        return f"COALESCE(CAST({part(name)} AS BIGINT), 0)"

    op.execute(
        "UPDATE items SET"
        f" kind = COALESCE({part('kind')}, ''),"
        f" created_us = {number('created_us')},"
        f" decided_by = COALESCE({part('decided_by')}, 'nobody'),"
        f" wake_us = CASE WHEN state = 'taken' THEN {number('lease_until_us')} ELSE 0 END,"
        f" person = COALESCE(CASE WHEN {part('decided_by')} = 'person' THEN {part('reviewer')} ELSE {part('holder')} END, '')"
    )
