"""The load generator: wrk (a Debian package), with bodies and ids that differ from request to request."""

from __future__ import annotations

import json
import random
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "drive", "need_wrk", "write_script"]

_LUA = """
local file = io.open("%s", "r")
local bodies = {}
for line in file:lines() do bodies[#bodies + 1] = line end
file:close()
local count = 0
local run = "run"
init = function(args) run = args[1] end
request = function()
  count = count + 1
  local body = bodies[count %% #bodies + 1]
  if %s then body = string.gsub(body, '"@id"', '"' .. run .. "-" .. count .. '"') end
  return wrk.format("POST", "%s", {["content-type"] = "application/json"}, body)
end
done = function(summary, latency)
  io.write(string.format("RESULT %%d %%d %%d %%.3f %%.3f\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run measured: requests per second, failures, and two latencies in ms."""

    rps: float
    failed: int
    p50_ms: float
    p99_ms: float


def need_wrk() -> None:
    """End with one sentence when wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("benchmarks need wrk to make load: apt-get install wrk")


def write_script(folder: Path, path: str, *, wrapped: bool, seed: int) -> Path:
    """A wrk script that posts 2,000 different rows of 20 features to ``path``; ``wrapped`` adds our envelope and an id."""
    rng = random.Random(seed)
    rows = [{f"f{i}": round(rng.gauss(0, 1), 5) for i in range(20)} for _ in range(2000)]
    bodies = folder / f"bodies-{seed}-{wrapped}.jsonl"
    bodies.write_text("\n".join(json.dumps({"id": "@id", "x": row} if wrapped else row) for row in rows) + "\n")
    script = folder / f"post-{seed}-{wrapped}.lua"
    script.write_text(_LUA % (bodies, "true" if wrapped else "false", path))
    return script


def drive(url: str, script: Path, connections: int, seconds: int) -> Load:
    """Load ``url`` over so many keep-alive connections for so long."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", str(script), url]
    command += ["--", secrets.token_hex(4)]  # ids of this run are new: a repeated one would be answered from the log
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", output)
    if found is None:
        sys.exit(f"wrk said nothing that could be read:\n{output}")
    requests, micros, failed = (int(found[i]) for i in (1, 2, 3))
    return Load(requests / (micros / 1e6), failed, float(found[4]), float(found[5]))
