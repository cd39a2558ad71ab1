"""A gateway worker that dies in the middle of a write to its log, once, when a file tells it to; run by test_kill.

python faulty_worker.py TRIGGER process worker ...
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

from andon.store.writer import WalWriter
from andon.surface.cli import main


def _torn(trigger: Path, descriptor: int, data: bytes) -> int:
    """Half of the bytes reach the file; then this process is gone."""
    if trigger.exists():
        trigger.unlink()
        os.write(descriptor, bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return os.write(descriptor, data)


if __name__ == "__main__":
    defaults = WalWriter.__init__.__kwdefaults__
    assert defaults is not None
    assert defaults["write"] is os.write
    defaults["write"] = partial(_torn, Path(sys.argv.pop(1)))
    main()
