"""One file per change, named by its revision; alembic finds them here.

They are separate from ``tables`` because they say what the tables were at the time. Next: ``andon.store.tables``.
"""
