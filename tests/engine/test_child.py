"""Whose child gives way: that of who does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from andon.engine.port import IDLE

_PROGRAM = """
import os, sys
from andon.engine.child import Child
os.nice(max(0, {niceness} - os.nice(0)))
child = Child((sys.executable, "-c", "import time; time.sleep(60)", "{{fd}}"))
print(os.getsid(child.pid) == os.getsid(0), os.getpgid(child.pid) == child.pid)
child.close()
"""


@pytest.mark.parametrize(("niceness", "same"), [(IDLE, True), (IDLE - 1, False), (0, False)])
def test_a_child_of_who_gives_way_stays_in_its_session_and_is_a_group_of_its_own(niceness: int, same: bool) -> None:
    program = [sys.executable, "-c", _PROGRAM.format(niceness=niceness)]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == [str(same), "True"]
