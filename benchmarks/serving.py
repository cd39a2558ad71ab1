"""One row of 20 features per request as JSON over keep-alive: Andon's gateway against its own floor and FastAPI.

Three contestants, one worker each, in turn: our server answering a constant; our gateway with a logistic regression,
*with* validation, routing, idempotency, the write-ahead log, metrics, and its controller and shadow running; FastAPI's
documented form (``def``) on uvicorn calling the same model's ``predict_proba`` in scikit-learn.

    python -m benchmarks.serving --rounds 7 --seconds 3 --connections 1,16,64
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.load import Load, drive, need_wrk, write_script
from benchmarks.paired import median, ratio, take_turns
from benchmarks.project import build, free_port, line

_PEERS = Path(__file__).parent / "peers"


@contextmanager
def _server(command: list[str], url: str, environ: dict[str, str] | None = None) -> Iterator[str]:
    process = subprocess.Popen(
        command, env={**os.environ, **(environ or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError as error:
                if "HTTP Error" in str(error):
                    break
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _peer_python(root: Path) -> Path:
    python = root / "venv" / "bin" / "python"
    if not python.exists():
        print("setting up the peers' environment ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(root / "venv")], check=True)
        requirements = str(_PEERS / "requirements.txt")
        install = [str(python), "-m", "pip", "install", "-qq", "--require-hashes", "-r", requirements]
        subprocess.run(install, check=True)
    return python


def _save_model(folder: Path) -> Path:
    import skops.io as sio
    from sklearn.linear_model import LogisticRegression

    from benchmarks.project import COLUMNS, rows

    table = rows()
    path = folder / "model.skops"
    sio.dump(LogisticRegression(max_iter=200).fit(table.select(COLUMNS).to_numpy(), table["y"].to_numpy()), path)
    return path


def main() -> None:
    """Print a table for every number of connections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--peers", type=Path, default=Path(__file__).parent / "out" / "peers")
    options = parser.parse_args()
    need_wrk()
    python = _peer_python(options.peers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, floor_port, fast_port = free_port(), free_port(), free_port()
        project = build(folder / "project", port=port)
        ours = write_script(folder, "/v1/projects/bench/decisions", wrapped=True, seed=1)
        plain = write_script(folder, "/predict", wrapped=False, seed=1)
        model = _save_model(folder)
        floor = [sys.executable, "-c", f"from benchmarks.constant import serve; serve({floor_port})"]
        peer = [str(python), "-m", "uvicorn", "fastapi_app:app", "--port", str(fast_port), "--log-level", "error"]
        peer += ["--app-dir", str(_PEERS)]
        with (
            line(project, port) as andon_url,
            _server(floor, f"http://127.0.0.1:{floor_port}/") as floor_url,
            _server(peer, f"http://127.0.0.1:{fast_port}/docs", {"BENCH_MODEL": str(model)}) as fast_docs,
        ):
            fast_url = fast_docs.removesuffix("/docs")
            for connections in (int(text) for text in options.connections.split(",")):
                loads: dict[str, list[Load]] = {"floor": [], "andon": [], "fastapi": []}
                turn = partial(_turn, loads, connections, options.seconds)
                contestants: dict[str, Callable[[], float]] = {
                    "floor": partial(turn, "floor", floor_url, plain),
                    "andon": partial(turn, "andon", andon_url, ours),
                    "fastapi": partial(turn, "fastapi", fast_url, plain),
                }
                results = take_turns(contestants, options.rounds)
                _print(connections, results, loads)


def _turn(loads: dict[str, list[Load]], connections: int, seconds: int, name: str, url: str, script: Path) -> float:
    found = drive(url, script, connections, seconds)
    loads[name].append(found)
    return found.rps


def _print(connections: int, results: dict[str, list[float]], loads: dict[str, list[Load]]) -> None:
    titles = {
        "floor": "our server, a constant",
        "andon": "our gateway, logistic regression",
        "fastapi": "FastAPI def + uvicorn, the same model",
    }
    print(
        f"\n{connections} connection{'s' if connections > 1 else ''}  (median [95 % interval] over {len(results['andon'])} rounds)"
    )
    print(f"{'':<38}{'requests/s':>25}{'p50 ms':>22}{'p99 ms':>26}{'failed':>8}")
    for name, title in titles.items():
        p50 = median([load.p50_ms for load in loads[name]]).text(2)
        p99 = median([load.p99_ms for load in loads[name]]).text(2)
        failed = sum(load.failed for load in loads[name])
        print(f"{title:<38}{median(results[name]).text():>25}{p50:>22}{p99:>26}{failed:>8}")
    print(f"{'gateway / FastAPI':<38}{ratio(results['andon'], results['fastapi']).text(1):>25}")
    print(f"{'gateway / constant':<38}{ratio(results['andon'], results['floor']).text(2):>25}")


if __name__ == "__main__":
    main()
