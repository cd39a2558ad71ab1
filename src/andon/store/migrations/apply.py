"""Applying migrations to an open connection; the only place that imports alembic."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from andon.errors import UsageError

__all__ = ["head", "upgrade"]


def _scripts() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)


def head() -> str | None:
    """The newest revision there is a file for."""
    return _scripts()[1].get_current_head()


def upgrade(connection: Connection) -> None:
    """Apply, inside the connection's transaction, what is missing. Raises ``UsageError`` for a newer release's database."""
    config, scripts = _scripts()
    context = EnvironmentContext(config, scripts, fn=lambda revision, _: scripts._upgrade_revs("head", revision))
    context.configure(connection=connection, target_metadata=None, transactional_ddl=False)
    try:
        context.run_migrations()
    except CommandError as error:
        raise UsageError(
            f"the database was written by a newer release of Andon ({error}); upgrade Andon to open it"
        ) from error
