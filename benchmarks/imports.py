"""How light the library is: what `import andon` costs, and how many distributions an installation brings.

Whole processes in turn, an empty interpreter against one that imports; medians in ms. Distributions are those that this
environment's ``andon`` needs to run, found by following what each one says it requires.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.paired import median, take_turns

BAR_MS = 150
MOST = 66
ROUNDS = 21


def _run(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - begun) * 1000


def _needed(name: str) -> set[str]:
    """The distributions that ``name`` needs here, itself included; extras are followed where they are asked for."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [Requirement(name)]
    while waiting:
        wanted = waiting.pop()
        key = f"{canonicalize_name(wanted.name)}{sorted(wanted.extras)}"
        if key in seen:
            continue
        seen.add(key)
        try:
            lines = requires(wanted.name) or []
        except PackageNotFoundError:
            continue
        found.add(canonicalize_name(wanted.name))
        for line in lines:
            one = Requirement(line)
            fits = any(one.marker is None or one.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras))
            if fits:
                waiting.append(one)
    return found


def main() -> None:
    """Print the table; returns 1 when a bar is missed."""
    results = take_turns({"python": lambda: _run("pass"), "import andon": lambda: _run("import andon")}, rounds=ROUNDS)
    extra = median([a - b for a, b in zip(results["import andon"], results["python"], strict=True)])
    for name, values in results.items():
        print(f"{name:<16}{median(values).text(1)} ms")
    print(f"{'import alone':<16}{extra.text(1)} ms (bar: at most {BAR_MS})")
    needed = _needed("andon")
    print(f"{'distributions':<16}{len(needed)}, Andon included (bar: at most {MOST})")
    sys.exit(int(extra.value > BAR_MS or len(needed) > MOST))


if __name__ == "__main__":
    main()
