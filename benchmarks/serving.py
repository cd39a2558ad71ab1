"""The line against its peers: one row of 20 numbers as JSON a request, keep-alive, one worker, the load from this machine.

Ours runs whole: validation, a canary of 10 %, an id for each request, the write-ahead log (``flush``), metrics, and beside it
its controller and shadow. Each peer runs in its documented default and in a better mode, in an environment of its own that is
made from hashed requirements when it is first needed. Turns are interleaved, ours in every round (`benchmarks.match`).

    python -m benchmarks.serving                                   # everything: about two hours
    python -m benchmarks.serving --quick                           # everything, two short rounds: about half an hour
    python -m benchmarks.serving --parts peers --peers fastapi --models lr --connections 64
    python -m benchmarks.serving --parts none --page               # docs/performance.md from what was measured

Parts: peers, floor (our server answering a constant), unconverted, variants, agreement. Each is kept as JSON below
``benchmarks/out/table``, so the tables can be made in pieces; they also show what `benchmarks.shares`,
`benchmarks.shadow_load` and `benchmarks.open_loop` left there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.agreement import agreement
from benchmarks.contestants import PEERS, Running, serve, versions
from benchmarks.load import need_wrk
from benchmarks.match import Settings, constant, match, our_line, with_unit
from benchmarks.processes import NotStarted
from benchmarks.results import read_all, write
from benchmarks.tables import render, trial

_PARTS = ("floor", "peers", "unconverted", "variants", "agreement")
_PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_HEAD = """# Performance

Written by `python -m benchmarks.serving --parts none --page` from what was measured last; see [benchmarks](benchmarks.md) for
what is compared and how.

{machine}

Every figure is a median over rounds with its 95 % interval, `1.3 [1.2, 1.4]`; a ratio is taken inside each round, and a bar
counts by the end of the interval that is worse for us. "With all behind it" is the processor time of the server's whole
process tree: of ours also the controller, which ships every decision to Delta.
"""


def main() -> None:
    """Measure what was asked for, then print the tables."""
    options = _options()
    need_wrk()
    settings = _settings(options)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = options.folder or Path(name)
        for part in options.parts:
            began = time.monotonic()
            _RUN[part](folder, settings, options)
            print(f"{part} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    text = render(read_all())
    print(text)
    if options.page:
        _PAGE.write_text(_page(text))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--parts", default=",".join(_PARTS), help=f"Some of {', '.join(_PARTS)}, or none.")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"Some of {', '.join(PEERS)}.")
    parser.add_argument("--models", default="lr,hgb", help="lr, hgb or both.")
    parser.add_argument(
        "--quick", action="store_true", help="Two rounds of one second: whether all runs, not how fast."
    )
    parser.add_argument("--page", action="store_true", help="Write docs/performance.md, too.")
    parser.add_argument("--folder", type=Path, default=None, help="Where projects are built and kept.")
    options = parser.parse_args()
    options.parts = [] if options.parts == "none" else options.parts.split(",")
    options.peers, options.models = options.peers.split(","), options.models.split(",")
    for given, known in ((options.parts, _PARTS), (options.peers, PEERS), (options.models, ("lr", "hgb"))):
        if unknown := [word for word in given if word not in known]:
            parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    if options.folder:
        options.folder = options.folder.resolve()
        options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _settings(options: argparse.Namespace) -> Settings:
    connections = tuple(int(text) for text in options.connections.split(","))
    return Settings(2, 1, connections) if options.quick else Settings(options.rounds, options.seconds, connections)


def _peers(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    """Ours against each peer in all of its modes, one peer at a time: nothing else runs beside them."""
    for model in options.models:
        how = replace(settings, connections=(64,)) if model == "hgb" else settings
        for name in options.peers:
            _peer(folder, how, name, model)


def _peer(folder: Path, settings: Settings, name: str, model: str) -> None:
    reasons: dict[str, str] = {}
    with ExitStack() as stack:
        contestants: dict[str, Running] = {}
        for mode in PEERS[name].modes:
            try:
                contestants[mode] = stack.enter_context(serve(name, mode, model, folder))
            except NotStarted as reason:
                reasons[mode] = str(reason)
                print(f"{PEERS[name].modes[mode].title}: {reason}", file=sys.stderr, flush=True)
        turns = []
        if contestants:
            ours = stack.enter_context(our_line(folder, "plain" if model == "lr" else "hgb"))
            turns = match({"ours": ours, **contestants}, folder, settings)
    found = {"settings": asdict(settings), "turns": turns, "not_started": reasons, "versions": versions(name)}
    write(f"peer-{name}-{model}", found)


def _floor(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    with our_line(folder, "plain") as ours, constant(folder) as floor:
        turns = match({"ours": ours, "constant": floor}, folder, settings)
    write("floor", {"settings": asdict(settings), "turns": turns})


def _unconverted(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    titles = {
        "sklearn": "ours, scikit-learn in a process of its own (default)",
        "inside": "ours, scikit-learn in the worker (`isolation: none`)",
        "fastapi-def": "FastAPI `def`",
    }
    how = replace(settings, connections=(64,))
    with (
        our_line(folder, "sklearn") as apart,
        our_line(folder, "sklearn-inside") as inside,
        serve("fastapi", "def", "lr", folder) as peer,
    ):
        turns = match({"sklearn": apart, "inside": inside, "fastapi-def": peer}, folder, how)
    found = {"settings": asdict(how), "turns": turns, "titles": titles, "counts": ["sklearn", "inside"]}
    write("unconverted", found)


def _variants(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    titles = {
        "plain": "inputs as they come",
        "numpy": "numpy `features()`",
        "polars": "polars `features()`",
        "slices": "a route of five slices",
        "unit": "a unit in each request",
    }
    with ExitStack() as stack:
        contestants = {
            name: stack.enter_context(our_line(folder, name)) for name in ("plain", "numpy", "polars", "slices")
        }
        contestants["unit"] = replace(contestants["plain"], shape=with_unit)
        turns = match(contestants, folder, settings)
    write("variants", {"settings": asdict(settings), "turns": turns, "titles": titles, "counts": []})


def _agreement(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    seconds = 2 if options.quick else 10
    with our_line(folder, "plain") as ours:
        rows = agreement(ours, folder, connections=64, seconds=seconds)
    write("agreement", {"rows": rows})


_RUN: dict[str, Callable[[Path, Settings, argparse.Namespace], None]] = {
    "floor": _floor,
    "peers": _peers,
    "unconverted": _unconverted,
    "variants": _variants,
    "agreement": _agreement,
}


def _page(text: str) -> str:
    parts = read_all().values()
    if not parts:
        sys.exit("nothing was measured yet: there is nothing to write a page from")
    about = max(parts, key=lambda part: str(part["at"]))
    one = about["machine"]
    ours = ", ".join(f"{name} {version}" for name, version in about["ours"].items())
    machine = (
        f"Machine: {one['cores']} cores of {one['processor']}, {one['memory_gb']} GB, Linux {one['kernel']}, Python "
        f"{one['python']}; ours with {ours}."
    )
    tried = sorted(part["part"] for part in parts if trial(part))
    warning = (
        f"**Not a measurement yet**: trial runs, too short for a verdict, are {', '.join(tried)}.\n\n" if tried else ""
    )
    return f"{_HEAD.format(machine=machine)}\n{warning}{text}"


if __name__ == "__main__":
    main()
