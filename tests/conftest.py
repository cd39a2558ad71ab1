"""How hypothesis draws: the same examples at every run of ``make test``, new ones wherever ``ANDON_FUZZ=1`` is set.

A commit is judged by what it changed, so what judges it must not change by itself. What a random draw finds is a finding
all the same: ``make test-all`` draws anew each time. How long an example takes is the machine's and its other work's.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("drawn", print_blob=True, deadline=None)
settings.load_profile("drawn" if os.environ.get("ANDON_FUZZ") else "repeatable")
