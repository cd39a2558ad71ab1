"""Doors and windows: the command line, the JSON API and the board.

Nothing is decided here. Every command, call and page reads a view or calls the same action that the others call, so
that what a person does by keyboard, by HTTP or on the board is one event in one journal.
Start reading at ``andon.surface.cli``.
"""
