"""The load generator: wrk (a Debian package), with bodies and ids that differ from request to request."""

from __future__ import annotations

import json
import random
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Load", "Row", "Shape", "decision", "drive", "need_wrk", "plain", "some_rows", "write_script"]

Row = dict[str, float]
#: What a server wants to be sent for a row.
Shape = Callable[[Row], Any]

# What is sent is made before the first request, all but the id (17 characters): the generator must not be what is measured.
_LUA = """
local before, after, count, run, heard = {}, {}, 0, "", nil
init = function(args)
  run = args[1]
  if args[2] then heard = io.open(args[2], "w") end
  for line in io.lines("%s") do
    local body = string.gsub(line, "@id", "@@@@@@@@@@@@@@@@@")
    local whole = wrk.format("POST", "%s", {["content-type"] = "application/json"}, body)
    local from, to = string.find(whole, "@@@@@@@@@@@@@@@@@", 1, true)
    before[#before + 1] = from and string.sub(whole, 1, from - 1) or whole
    after[#after + 1] = from and string.sub(whole, to + 1) or false
  end
end
request = function()
  count = count + 1
  local at = count %% #before + 1
  if not after[at] then return before[at] end
  return before[at] .. run .. string.format("-%%08d", count) .. after[at]
end
%sdone = function(summary, latency)
  io.write(string.format("RESULT %%d %%d %%d %%.3f %%.3f\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""
_HEAR = 'response = function(status, headers, body) heard:write(status, " ", body, "\\n"); heard:flush() end\n'


@dataclass(frozen=True)
class Load:
    """What one run measured: requests per second, failures, two latencies in ms, and how many answers came."""

    rps: float
    failed: int
    p50_ms: float
    p99_ms: float
    requests: int = 0


def need_wrk() -> None:
    """End with one sentence when wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("benchmarks need wrk to make load: apt-get install wrk")


def plain(row: Row) -> Any:
    """The row itself."""
    return row


def decision(row: Row) -> Any:
    """Our envelope, with an id that becomes another one in every request."""
    return {"id": "@id", "x": row}


def some_rows(n: int, seed: int) -> list[Row]:
    """Rows of 20 normal features."""
    rng = random.Random(seed)
    return [{f"f{i}": round(rng.gauss(0, 1), 5) for i in range(20)} for _ in range(n)]


def write_script(
    folder: Path, path: str, *, wrapped: bool, seed: int, shape: Shape | None = None, hear: bool = False
) -> Path:
    """A wrk script that posts 2,000 different rows of 20 features to ``path``.

    ``wrapped`` adds our envelope and an id; ``shape`` says otherwise what is sent. With ``hear`` every answer is kept.
    """
    form = shape or (decision if wrapped else plain)
    name = f"{form.__name__}-{seed}{'-heard' if hear else ''}-{path.strip('/').replace('/', '-')}"
    bodies = folder / f"bodies-{name}.jsonl"
    bodies.write_text("\n".join(json.dumps(form(row)) for row in some_rows(2000, seed)) + "\n")
    script = folder / f"post-{name}.lua"
    script.write_text(_LUA % (bodies, path, _HEAR if hear else ""))
    return script


def drive(
    url: str, script: Path, connections: int, seconds: int, *, run: str | None = None, heard: Path | None = None
) -> Load:
    """Load ``url`` over so many keep-alive connections for so long; ``heard`` is where answers are kept."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", str(script), url]
    # Ids of this run are new: a repeated one would be answered from the log.
    command += ["--", run or secrets.token_hex(4), *([str(heard)] if heard else [])]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", output)
    if found is None:
        sys.exit(f"wrk said nothing that could be read:\n{output}")
    requests, micros, failed = (int(found[i]) for i in (1, 2, 3))
    return Load(requests / (micros / 1e6), failed, float(found[4]), float(found[5]), requests)
