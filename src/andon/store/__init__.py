"""Memory: everything that outlives a process, in the only room that speaks SQL, Delta and file formats of its own.

It is here so that no other room depends on how a thing is kept: the live path appends frames (``wal``), the route plane
works with the database dead (``routes``), and facts are appended, never edited (``journal``). Start with ``workspace``,
the one handle to all of it; then read ``wal``; the next room is ``andon.scope``, what a line is for.
"""
