"""Watching the line live: from the log to items, windows of metrics, alarms, and what is done about them.

A model that was good on the test set meets cameras that get dirty and people who change, so every metric of the charter
is measured again on every window, with its interval, and held against its bound. Next room: ``andon.retrain``, which
begins the loop anew.
"""
