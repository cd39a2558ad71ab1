"""The tables of the line's speed, from what was measured (`benchmarks.results`): Markdown, bars and verdicts included.

A bar counts by the end of the 95 % interval that is worse for us. A peer's mode counts at a number of connections when it is
the faster one there; the others are printed, too. What was not measured, or could not be started, is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.contestants import PEERS
from benchmarks.match import values
from benchmarks.paired import Figure, median, ratio

__all__ = ["render", "table", "trial", "verdict"]

Part = dict[str, Any]
#: At least so many times a peer's rate, for a logistic regression, at 1, 16 and 64 connections.
_TIMES = {"fastapi": {1: 3, 16: 20, 64: 30}, "ray": {1: 30, 16: 150, 64: 240}}
_OTHERS = {1: 7, 16: 40, 64: 60}
_HGB = 80
_UNCONVERTED = 20
_CONSTANT = 2.0
#: Fewer rounds than these carry no verdict.
_ROUNDS = 7


def verdict(figure: Figure, *, least: float | None = None, most: float | None = None, failed: float = 0) -> str:
    """Whether the worse end of the interval meets the bar; never where requests to us failed.

    >>> verdict(Figure(31, 29, 33), least=30), verdict(Figure(31, 30, 33), least=30), verdict(Figure(1.8, 1.7, 2.1), most=2)
    ('missed: 29', 'met', 'missed: 2.1')
    """
    if failed:
        return f"missed: {failed:.0f} of our requests failed"
    if least is not None:
        return "met" if figure.low >= least else f"missed: {figure.low:.3g}"
    if most is not None:
        return "met" if figure.high <= most else f"missed: {figure.high:.3g}"
    return ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown with columns that line up.

    >>> print(table(["a", "b"], [["1", "22"]]))
    | a | b  |
    |---|----|
    | 1 | 22 |
    """
    wide = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(n) for cell, n in zip(row, wide, strict=True)) + " |" for row in [head, *rows]
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (n + 2) for n in wide) + "|", *lines[1:]])


def render(parts: dict[str, Part]) -> str:
    """Every table for which there is something."""
    blocks = [
        *_peers(parts, "lr"),
        *_bars(parts),
        *_peers(parts, "hgb"),
        *_plain(parts, "unconverted", "An unconverted scikit-learn model", "fastapi-def", _UNCONVERTED),
        *_plain(parts, "variants", "The same with `features()`, a route of five slices, units (no bar)", "plain", None),
        *_floor(parts),
        *_shares(parts),
        *_told(parts),
    ]
    return "\n\n".join(blocks) + "\n"


def _about(part: Part) -> str:
    how = part.get("settings", {})
    text = f"{part['at']}, ours at {part['commit']}, load average {part['load_average']}, `{part['command']}`"
    return text + (f", {how['rounds']} rounds of {how['seconds']} s" if how else "")


def trial(part: Part) -> bool:
    """Whether a part has too few rounds for a verdict: it shows that everything runs, nothing else."""
    return int(part.get("settings", {}).get("rounds", _ROUNDS)) < _ROUNDS


def _judge(part: Part, figure: Figure, **bar: float) -> str:
    return "not told: a trial" if trial(part) else verdict(figure, **bar)


def _figures(turns: list[Part], name: str, connections: int) -> list[str]:
    def text(what: str, digits: int) -> str:
        return median(values(turns, name, connections, what)).text(digits)

    failed = sum(values(turns, name, connections, "failed"))
    shown = [text("rps", 0), text("p50_ms", 2), text("p99_ms", 2), text("cpu_us", 0), text("tree_us", 0)]
    return [*shown, f"{failed:.0f}"]


_FIGURES = ["requests/s", "p50 ms", "p99 ms", "CPU us a request", "with all behind it", "failed"]


def _levels(turns: list[Part]) -> list[int]:
    return sorted({int(turn["connections"]) for turn in turns})


def _peers(parts: dict[str, Part], model: str) -> Iterator[str]:
    title = {"lr": "Logistic regression", "hgb": "HistGradientBoosting, 100 trees"}[model]
    rows: list[list[str]] = []
    for name, peer in PEERS.items():
        part = parts.get(f"peer-{name}-{model}")
        if part is None:
            rows.append([peer.title, "", "not measured", *[""] * 8])
            continue
        rows += _against(part, name, model)
        for mode, reason in part["not_started"].items():
            rows.append([peer.modes[mode].title, "", f"not started: {reason}", *[""] * 8])
    if all("not measured" in row for row in rows):
        return
    yield f"## {title}, one row of 20 numbers a request"
    yield table(["against", "at", "ours / theirs", "bar", "verdict", *_FIGURES], rows)
    yield from (
        f"{PEERS[name].title}: {_about(part)}; {', '.join(f'{k} {v}' for k, v in part['versions'].items())}.  "
        for name in PEERS
        if (part := parts.get(f"peer-{name}-{model}"))
    )


def _against(part: Part, name: str, model: str) -> Iterator[list[str]]:
    turns = part["turns"]
    for connections in _levels(turns):
        rates = {
            mode: median(found).value
            for mode in PEERS[name].modes
            if (found := values(turns, mode, connections, "rps"))
        }
        counts = "def" if "def" in rates else max(rates, key=lambda mode: rates[mode])
        for mode in rates:
            mine, theirs = values(turns, "ours", connections, "rps"), values(turns, mode, connections, "rps")
            bar = _bar(name, model, connections) if mode == counts else None
            if silent := theirs.count(0.0):  # no rate to compare with, and no win of ours
                shown = [
                    f"no answer in {silent} of {len(theirs)} rounds",
                    "" if bar is None else f">= {bar}",
                    "not told",
                ]
            else:
                times, failed = ratio(mine, theirs), sum(values(turns, "ours", connections, "failed"))
                told = ["", ""] if bar is None else [f">= {bar}", _judge(part, times, least=bar, failed=failed)]
                shown = [times.text(1), *told]
            figures = _figures(turns, mode, connections)
            yield [PEERS[name].modes[mode].title, str(connections), *shown, *figures]
        yield [f"ours, beside {PEERS[name].title}", str(connections), "", "", "", *_figures(turns, "ours", connections)]


def _bar(name: str, model: str, connections: int) -> int | None:
    if model == "hgb":
        return _HGB if connections == 64 else None
    return _TIMES.get(name, _OTHERS).get(connections)


def _bars(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("peer-fastapi-lr")
    if part is None or "def" not in {turn["contestant"] for turn in part["turns"]}:
        return
    turns, rows = part["turns"], []
    for what, connections, most in (("p50_ms", 1, 1 / 3), ("p99_ms", 64, 1 / 10)):
        if connections in _levels(turns):
            found = ratio(values(turns, "ours", connections, what), values(turns, "def", connections, what))
            bar = f"<= 1/{1 / most:.0f}"
            rows.append([f"{what[:3]} at {connections}", found.text(3), bar, _judge(part, found, most=most)])
    if rows:
        yield "## Latency against FastAPI `def`"
        yield table(["what", "ours / FastAPI's", "bar", "verdict"], rows)


def _plain(parts: dict[str, Part], key: str, title: str, against: str, least: float | None) -> Iterator[str]:
    part = parts.get(key)
    if part is None:
        return
    turns, rows = part["turns"], []
    for connections in _levels(turns):
        for name in part["titles"]:
            times, shown = "", ["", ""]
            if name != against and values(turns, against, connections, "rps"):
                found = ratio(values(turns, name, connections, "rps"), values(turns, against, connections, "rps"))
                times = found.text(2)
                if least is not None and connections == 64 and name in part["counts"]:
                    failed = sum(values(turns, name, connections, "failed"))
                    shown = [f">= {least:g}", _judge(part, found, least=least, failed=failed)]
            rows.append([part["titles"][name], str(connections), times, *shown, *_figures(turns, name, connections)])
    yield f"## {title}"
    yield table(["what", "at", f"/ {part['titles'][against]}", "bar", "verdict", *_FIGURES], rows)
    yield f"{_about(part)}.  "


def _floor(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("floor")
    if part is None:
        return
    turns, rows = part["turns"], []
    for connections in _levels(turns):
        cpu = ratio(values(turns, "ours", connections, "cpu_us"), values(turns, "constant", connections, "cpu_us"))
        rate = ratio(values(turns, "ours", connections, "rps"), values(turns, "constant", connections, "rps"))
        both = [median(values(turns, name, connections, "cpu_us")).text(1) for name in ("ours", "constant")]
        failed = sum(values(turns, "ours", connections, "failed"))
        shown = [f"<= {_CONSTANT:g}", _judge(part, cpu, most=_CONSTANT, failed=failed)]
        rows.append([str(connections), *both, cpu.text(2), *shown, rate.text(2)])
    yield "## Processor time against our own server answering a constant"
    head = ["at", "gateway, us a request", "constant, us", "gateway / constant", "bar", "verdict"]
    yield table([*head, "rate, gateway / constant"], rows)
    yield f"{_about(part)}.  "


def _shares(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("shares")
    if part is None:
        return
    floor = parts.get("floor", {"turns": []})["turns"]
    rows = []
    for size, blocks in part["sizes"].items():
        cpu = values(floor, "ours", int(size), "cpu_us")
        core = median(blocks["gateway"])
        rows.append([size, "the whole core", core.text(2), "", "", "", ""])
        for name, most in part["bars"].items():
            spent = median(blocks[name])
            of_core = ratio([100 * value for value in blocks[name]], blocks["gateway"])
            whole = median(cpu).value if cpu else core.value
            of_all = Figure(*(100 * one / whole for one in (spent.value, spent.low, spent.high)))
            bar = ["", ""] if most is None else [f"<= {most:g} %", _judge(part, of_all, most=most)]
            rows.append([size, name, spent.text(2), of_core.text(1), of_all.text(1) if cpu else "no floor part", *bar])
    yield "## Where the time goes, in the sans-IO core"
    head = ["at once", "part", "us a request", "% of the core", "% of the worker's CPU", "bar", "verdict"]
    yield table(head, rows)
    yield f"{_about(part)}.  "


def _told(parts: dict[str, Part]) -> Iterator[str]:
    """Parts that hold rows of words: what, found, bar, verdict."""
    titles = {
        "agreement": "After the run: the backlog, and the log against the answers",
        "shadow": "Shadows that are overloaded, hang, crash, are killed",
        "open_loop": "1,000 requests a second, open loop",
    }
    for name, title in titles.items():
        if part := parts.get(name):
            yield f"## {title}"
            rows = [[*row[:3], "not told: a trial"] if trial(part) else row for row in part["rows"]]
            yield table(["what", "found", "bar", "verdict"], rows)
            yield f"{_about(part)}.  "
