"""How hypothesis draws, and which tests one process runs where several share the work.

Hypothesis draws the same examples at every run of ``make test``, new ones wherever ``ANDON_FUZZ=1`` is set.

A commit is judged by what it changed, so what judges it must not change by itself. What a random draw finds is a finding
all the same: ``make test-all`` draws anew each time. How long an example takes is the machine's and its other work's.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("drawn", print_blob=True, deadline=None)
settings.load_profile("drawn" if os.environ.get("ANDON_FUZZ") else "repeatable")

os.environ.pop("COLUMNS", None)  # a process of pytest-xdist has it, for ever 80: how wide a terminal is says each test


#: Where tests start lines, browsers and databases.
_LINES = (
    "tests/board/browser/",
    "tests/demo/",
    "tests/deploy/test_clients.py",
    "tests/deploy/test_crowd.py",
    "tests/deploy/test_doors.py",
    "tests/deploy/test_worker.py",
    "tests/line/",
    "tests/store/",
    "tests/surface/test_asgi_line.py",
    "tests/surface/test_readme.py",
    "tests/surface/test_up.py",
    "tests/trouble/",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of processes that share the tests, one takes all lines and browsers, one after the other; else a file goes whole.

    Two lines at once would wait for each other's processors, and a controller gives way to whoever else wants one.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "lines" if path.startswith(_LINES) else path

    return ByFile(config, log)
