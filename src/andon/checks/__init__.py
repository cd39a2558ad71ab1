"""What may others rely on? Conformance suites that ship with the product, so that anybody can run them on their own part.

Our own parts pass the very same suites in our tests, which keeps the promises and the checks from drifting apart.
Start with ``andon.checks.predictor``; next room: ``andon.surface``, the doors.
"""
