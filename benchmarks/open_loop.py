"""An open loop at the charter's rate: 1,000 requests per second for 60 s; p99 below 10 ms, no error.

The project of the other benchmarks, one worker, with its controller, shadow and board running, driven with `andon load` from the
same machine. Every latency counts from when the request was due. Bounded: one run, about 75 s (``--seconds 10`` for a short
one). It ends with 1 when the bar was missed; a driver that was itself late tells nothing, which is said.

    python -m benchmarks.open_loop --qps 1000 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.project import build, free_port, line
from benchmarks.results import write

_BAR_MS = 10.0


def main() -> None:
    """Print the table and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qps", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        project = build(Path(name) / "project", port=port, workers=options.workers)
        with line(project, port):
            words = ["load", "--json", "--qps", str(options.qps), "--seconds", str(options.seconds)]
            command = [sys.executable, "-m", "andon", *words, "--connections", str(options.connections)]
            done = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(done.stdout)
    if "error" in found:
        sys.exit(str(found["error"]["message"]))
    write("open_loop", {"rows": _rows(found, options.seconds), "found": found})
    sys.exit(_report(found))


def _rows(found: dict[str, Any], seconds: float) -> list[list[str]]:
    """The verdict for the tables of `benchmarks.serving`: what, found, bar, verdict."""
    p99, failed = found["lateness"]["p99"], found["sent"] - found["answered"]
    kept = all(check["verdict"] == "pass" for check in found["checks"] if check["name"] == "schedule")
    late = "" if kept else " (the driver was late: nothing is told)"
    worse = p99["high"] if p99["high"] is not None else float("inf")
    what = f"p99 from when each was due, {found['rate']:,.0f}/s for {seconds:g} s"
    met = "not told" if not kept else "met" if worse < _BAR_MS else f"missed: {worse:.3g}"
    shown = "none" if p99["value"] is None else f"{p99['value']:.2f} [{p99['low']:.2f}, {worse:.2f}] ms{late}"
    missed = "met" if failed == 0 else f"missed by {failed}"
    return [
        [what, shown, f"< {_BAR_MS:g} ms", met],
        ["requests without an answer", f"{failed} of {found['sent']:,}", "0", missed],
    ]


def _report(found: dict[str, object]) -> int:
    lateness, checks = found["lateness"], found["checks"]
    assert isinstance(lateness, dict)
    assert isinstance(checks, list)
    print(
        f"\n{found['sent']:,} requests, {found['rate']:,.0f} answers per second; load average {os.getloadavg()[0]:.1f}"
    )
    print(f"{'ms, from when it was due':<26}{'':>10}{'95 % interval':>24}")
    for name, one in lateness.items():
        ends = [f"{end:,.2f}" if end is not None else "open" for end in (one["low"], one["high"])]
        value = f"{one['value']:,.2f}" if one["value"] is not None else "none"
        print(f"{name.replace('_', '.'):<26}{value:>10}{' to '.join(ends):>24}")
    print(f"{'max':<26}{found['max_ms']:>10,.2f}")
    print(f"the gateway's processors: {found['cpu_ms_per_request']:.3f} ms a request")
    for check in checks:
        print(f"{check['verdict']:<7} {check['sentence']}")
    kept = all(check["verdict"] == "pass" for check in checks if check["name"] == "schedule")
    p99 = lateness["p99"]["value"]
    good = p99 is not None and p99 < _BAR_MS and found["sent"] == found["answered"]
    print(
        f"bar: p99 below {_BAR_MS:g} ms, 0 errors: {'met' if good else 'missed' if kept else 'not told: the driver was late'}"
    )
    return 1 if kept and not good else 0


if __name__ == "__main__":
    main()
