"""The story **inspection**."""

from andon.core.clock import parse_time

BEGIN = parse_time("2026-03-02")
RATE = 3600.0


class Inspection:
    pass
