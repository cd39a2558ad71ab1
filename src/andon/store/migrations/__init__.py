"""The database's history: one file per change of the tables, applied in order when a database is opened.

It is here so that a workspace of an older release opens in a newer one without anybody doing anything. A migration
is never edited once released; next, read ``andon.store.tables``, where the tables of today are.
"""
