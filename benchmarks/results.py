"""What was measured, one JSON file for each part below ``benchmarks/out/table``, so that a table can be made in pieces."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["OUT", "bench_folder", "machine", "read", "read_all", "write"]

OUT = Path(__file__).parent / "out"
_TABLE = OUT / "table"
_OURS = ("uvloop", "httptools", "msgspec", "onnxruntime", "numpy", "scikit-learn", "polars")


def bench_folder() -> Path:
    """Where parts lie."""
    _TABLE.mkdir(parents=True, exist_ok=True)
    return _TABLE


def write(part: str, found: dict[str, Any]) -> Path:
    """Keep one part with when, where, by which command and under which load it was measured."""
    about = {
        "part": part,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "command": " ".join(["python -m", _module(), *sys.argv[1:]]),
        "commit": _commit(),
        "ours": {name: metadata.version(name) for name in _OURS},
    }
    path = bench_folder() / f"{part}.json"
    path.write_text(json.dumps(about | found, indent=1) + "\n")
    return path


def read(part: str) -> dict[str, Any] | None:
    """One part, or None where it was never measured."""
    path = bench_folder() / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else None


def read_all() -> dict[str, dict[str, Any]]:
    """Every part there is."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(bench_folder().glob("*.json"))}


def machine() -> dict[str, Any]:
    """Processor, memory, kernel and Python."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
