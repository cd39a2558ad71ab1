"""What a look of the controller costs on a line with many labelled cases: of an automatic rollout, and of the ladder.

A rollout with a guardrail that needs labels and one on a value, at level partial with an audit, on so many cases with their
labels. A controller's first look reads all of it; each later one comes after another hundred cases with their labels, then
after twenty labels of old cases, drawn from all, are corrected. Processor time of the whole process, the median of ten looks.

    python -m benchmarks.looks                      # 30,000 and 300,000 cases; half a minute
    python -m benchmarks.looks --cases 1000000
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from andon.core.clock import SECOND, ManualClock
from andon.core.record import Feedback
from andon.deploy.ladder_evidence import Ladder
from andon.deploy.line import Line
from andon.deploy.rollout_record import Rollout
from andon.deploy.rollout_store import newest, start
from andon.monitor.ingest import Ingest, Pace
from andon.monitor.proof import Proof
from andon.monitor.steer import Steer, standing
from andon.scope.charter import parse
from andon.store.codec import DecisionBatch, encode_decisions, encode_feedback
from andon.store.frame import FrameKind
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

CHARTER = """
project: looks
inputs: {f0: float}
target: {name: y, classes: [no, yes], delay: 1h}
safe_default: "no"
metrics:
  wrong: {of: error_rate, goal: "<= 0.2"}
  worth: {of: "value(yes: {right: 1}, no: {wrong: -1})", goal: "> 0", margin: 0.5}
automation: {level: partial, partial: {audit_share: 0.05}}
rollout: {path: [canary, live], guardrails: [wrong, worth]}
"""
_CONTRACT = "00112233445566aa"
_BEGIN = 1_583_884_800_000_000
_FRAME, _MORE, _CORRECTED, _LOOKS = 4000, 100, 20, 10


class Busy:
    """A line on which a rollout runs, with as many cases as are written to it."""

    def __init__(self, home: Path) -> None:
        self.charter = parse(CHARTER)
        self.workspace = Workspace.create(home)
        self._real_clock = self.workspace.clock
        self.workspace.clock = self.clock = ManualClock(_BEGIN)  # type: ignore[assignment]
        self.workspace.save_contract(_CONTRACT, self.charter.fields(), self.charter.target.classes)
        for version in ("v1", "v2"):
            release = {"version": version, "bundle": version * 8, "run": "r1"}
            self.workspace.records.put("release", version, release)
        line = Line(self.workspace, self.charter, patience=0.2)
        line.switch("v1", actor="bench")
        line.automate("partial", actor="bench", thresholds={"v1/*": 0.2, "v2/*": 0.2})
        start(self.workspace, self.charter, "v2", actor="bench", reason="benchmark")
        Steer(self.workspace, self.charter, seconds=0.0).turn()
        self.draw = np.random.default_rng(7)
        self.writer = WalWriter(self.workspace.wal_dir, "w0")
        self.ingest = Ingest(self.workspace, self.charter, pace=Pace(window=0.0, ship=0.0, tidy=0.0))
        self.made = 0

    @property
    def rollout(self) -> Rollout:
        found = newest(self.workspace)
        assert found is not None
        return found.rollout

    def come(self, n: int) -> None:
        """So many cases with their labels, a second apart, and into the tables."""
        route, draw = self.workspace.routes.current(), self.draw
        assert route is not None
        mine = (draw.random(n) < route.share).tolist()
        waits = (draw.random(n) < 0.2).tolist()
        drawn = (draw.random(n) < 0.05).tolist()
        times = (self.clock.now() + SECOND * np.arange(1, n + 1)).tolist()
        ids = [f"w0-00c0ffee-{number:x}" for number in range(self.made, self.made + n)]
        batch = DecisionBatch.empty(self.charter.fields())
        batch.x, batch.id, batch.time_us, batch.wall_us = [draw.random(n).tolist()], list(ids), times, times
        batch.epoch, batch.unit, batch.sticky = [route.epoch] * n, [f"{id}-unit" for id in ids], [True] * n
        batch.status = ["pending" if wait else "decided" for wait in waits]
        batch.decided_by = ["nobody" if wait else "model" for wait in waits]
        batch.decision = [None if wait else "no" for wait in waits]
        batch.suggestion = ["no" if wait else None for wait in waits]
        batch.level, batch.slice, batch.human = ["partial"] * n, ["*"] * n, [None] * n
        batch.version = ["v2" if one else "v1" for one in mine]
        batch.arm = ["candidate" if one else "live" for one in mine]
        batch.probability = [route.share if one else 1 - route.share for one in mine]
        batch.audit = [0.05 if one and not wait else 0.0 for one, wait in zip(drawn, waits, strict=True)]
        batch.confidence, batch.scores, batch.error = draw.random(n).tolist(), [None] * n, [None] * n
        batch.tags, batch.latency_us = [{}] * n, [1000] * n
        self.clock.advance(float(n))
        payload, contract = encode_decisions(self.charter.fields(), batch), bytes.fromhex(_CONTRACT)
        self.writer.append(FrameKind.DECISION, payload, count=n, contract=contract, time_us=times[-1])
        self.made += n
        self.label(ids)

    def label(self, ids: list[str]) -> None:
        """What turned out of these; one in twenty was wrong."""
        said = np.where(self.draw.random(len(ids)) < 0.05, "yes", "no").tolist()
        rows = [Feedback(id, "label", value) for id, value in zip(ids, said, strict=True)]
        self.writer.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=self.clock.now())
        while self.ingest.tick().shipped:
            pass

    def correct(self, n: int) -> None:
        """Labels of old cases come anew."""
        self.label([f"w0-00c0ffee-{number:x}" for number in self.draw.integers(0, self.made, n)])

    def close(self) -> None:
        self.ingest.finish()
        self.writer.close()
        self.workspace.clock = self._real_clock
        self.workspace.close()


def spent(look: Callable[[], object]) -> float:
    """Processor seconds."""
    began = time.process_time()
    look()
    return time.process_time() - began


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(cases: int) -> None:
    """Make a line, look at it, and say what that cost."""
    with tempfile.TemporaryDirectory() as folder:
        line = Busy(Path(folder) / ".andon")
        for first in range(0, cases, _FRAME):
            line.come(min(_FRAME, cases - first))
        line.workspace.log.compact()
        proof, ladder = Proof(line.workspace, line.charter), Ladder(line.workspace, line.charter)
        seen = standing(line.workspace, line.rollout)
        looks: dict[str, Callable[[], object]] = {
            "rollout": lambda: proof.look(line.rollout, seen),
            "ladder": ladder.broken,
        }
        before = resident()
        first_looks = {name: spent(look) for name, look in looks.items()}
        held = resident() - before
        happenings: dict[str, Callable[[], None]] = {
            "new cases": lambda: line.come(_MORE),
            "corrections": lambda: line.correct(_CORRECTED),
        }
        for what, happens in happenings.items():
            later: dict[str, list[float]] = {name: [] for name in looks}
            for _ in range(_LOOKS):
                happens()
                for name, look in looks.items():
                    later[name].append(spent(look))
            for name, found in later.items():
                print(
                    f"{cases:>9,} cases  {name:<8} first look {first_looks[name]:6.2f} s, after {what:<11} "
                    f"{statistics.median(found) * 1000:6.0f} ms (to {max(found) * 1000:.0f})"
                )
        print(f"{cases:>9,} cases  memory after the first looks: {held / 2**20:,.0f} MB more")
        line.close()


def main() -> None:
    """As the command says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="*", default=[30_000, 300_000])
    for cases in parser.parse_args().cases:
        measured(cases)


if __name__ == "__main__":
    main()
