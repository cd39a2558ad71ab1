"""How long `import andon` takes, against an empty interpreter: whole processes, in turn. Prints medians in ms."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.paired import median, take_turns


def _run(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    """Print the table."""
    results = take_turns({"python": lambda: _run("pass"), "import andon": lambda: _run("import andon")}, rounds=15)
    extra = median([a - b for a, b in zip(results["import andon"], results["python"], strict=True)])
    for name, values in results.items():
        print(f"{name:<14} {median(values).text(1)} ms")
    print(f"{'extra':<14} {extra.text(1)} ms (bar: at most 150)")


if __name__ == "__main__":
    main()
