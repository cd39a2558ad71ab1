"""A line without a gateway whose answers are audited: decisions are written as the route says, truth comes by hand."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

from andon.core.clock import ManualClock
from andon.core.record import Feedback, Level, Review, Route
from andon.deploy.automation import Policy, audit_probability, decide
from andon.deploy.ladder import Rung
from andon.deploy.ladder_evidence import kept
from andon.deploy.ladder_stretch import level_of
from andon.deploy.line import Line
from andon.monitor.climb import Climb
from andon.monitor.notify import Notifier
from andon.scope.charter import Charter, parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_reviews
from andon.store.frame import FrameKind
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

CHARTER = """
project: screening
inputs: {older: bool}
target: {name: result, classes: [negative, positive], truth: %s}
safe_default: refer
slices: {older: "older"}
automation: {level: %s, slices: {older: %s}, partial: {audit_share: 0.5}%s}
alarms: {notify: ["https://example.org/hook"]}
%s
"""
HASH = "00112233445566aa"
NOW = 1_583_884_800_000_000


def charter(
    truth: str = "external",
    level: str = "full",
    older: str = "full",
    automation: str = "",
    more: str = "",
    partial: str = "",
) -> Charter:
    text = CHARTER % (truth, level, older, ", " + automation if automation else "", more)
    return parse(text.replace("audit_share: 0.5", f"audit_share: 0.5, {partial}") if partial else text)


class Climbing:
    """v1 answers, or whatever version ``answers`` names; ``wrong`` is how often it errs in each slice where it is not sure (a confidence below 0.9)."""

    def __init__(
        self, home: Path, rules: Charter | None = None, seed: int = 1, live: bool = True, now: int = NOW
    ) -> None:
        self.charter = rules or charter()
        self.workspace = Workspace.create(home)
        self.clock = ManualClock(now)
        self.real_clock = self.workspace.clock
        self.workspace.clock = self.clock  # type: ignore[assignment]
        self.workspace.journal._clock = self.clock
        self.fields = self.charter.fields()
        self.workspace.save_contract(HASH, self.fields, self.charter.target.classes)
        for number in (1, 2):
            release = {"version": f"v{number}", "bundle": f"b{number}" * 8, "run": "r1"}
            self.workspace.records.put("release", f"v{number}", release)
        self.line = Line(self.workspace, self.charter, patience=0.2)
        self.line.begin(actor="ann")
        if live:
            self.line.switch("v1", actor="ann")
        self.random = random.Random(seed)
        self.writer = WalWriter(self.workspace.wal_dir, "w0")
        self.made = 0
        self.answers: str | None = None
        self.wrong = {"*": 0.005, "older": 0.005}
        self.sent: list[str] = []
        self.held: list[Feedback | Review] = []
        self.climb = self.leader()

    def leader(self) -> Climb:
        """A controller's duty, made anew."""
        self.notifier = Notifier(
            ["https://example.org/hook"], post=lambda url, body, seconds: self.sent.append(body["title"])
        )
        return Climb(self.workspace, self.charter, self.notifier, seconds=0.0, slow=0.0)

    @property
    def route(self) -> Route:
        found = self.workspace.routes.current()
        assert found is not None
        return found

    def level(self, slice: str = "*") -> Level:
        return level_of(self.route, slice)

    def rung(self, slice: str = "*") -> Rung:
        """What the last look found."""
        found = kept(self.workspace)
        assert found is not None
        return next(one for one in found.rungs if one.slice == slice)

    def come(
        self,
        cases: int,
        *,
        seconds: float = 3600,
        truth: bool = True,
        second: float = 0.0,
        late: Collection[str] = (),
    ) -> None:
        """Cases come in, evenly over so many seconds; with ``truth`` they are labelled, or reviewed where people are the truth.

        The truth of ``late`` ones ("audited" automatic answers, those "deferred" to people) waits until ``tell``.
        """
        batch = DecisionBatch.empty(self.fields)
        labels: list[Feedback] = []
        reviews: list[Review] = []
        route, share = self.route, self.charter.automation.partial.audit_share
        policy = Policy(blind=route.blind, stopped=route.stopped, safe_default="refer", audit_share=share)
        for _ in range(cases):
            self.clock.advance(seconds / cases)
            self.made += 1
            id, now = f"c{self.made}", self.clock.now()
            slice = "older" if self.random.random() < 0.5 else "*"
            sure = self.random.random() < 0.6
            confidence = self.random.uniform(0.9, 1.0) if sure else self.random.uniform(0.5, 0.9)
            level = level_of(route, slice)
            model = route.live or (route.shadows[0] if route.shadows else None)
            said = "negative"
            missed = not sure and self.random.random() < self.wrong[slice]
            real = "positive" if missed else "negative"
            made = decide(
                policy, level, said, confidence, route.thresholds.get(f"{model}/{slice}"), model=model is not None
            )
            audit = audit_probability(id, share) if made.automatic else 0.0
            row = DecisionRow(
                id=id,
                time_us=now,
                epoch=route.epoch,
                status=made.status,
                decision=made.decision,
                decided_by=made.decided_by,
                level=level,
                slice=slice,
                version=self.answers or model,
                arm="live",
                confidence=confidence,
                suggestion=made.suggestion,
                audit=audit,
            )
            batch.append_row([slice == "older"], row)
            told = self._told(row, real, second)
            if not truth:
                continue
            if ("audited" if made.automatic else "deferred") in late:
                self.held += told
                continue
            labels += [one for one in told if isinstance(one, Feedback)]
            reviews += [one for one in told if isinstance(one, Review)]
        self._write(batch, labels, reviews)

    def _told(self, row: DecisionRow, real: str, second: float) -> list[Feedback | Review]:
        """What turns out of a case: people's answers and, where labels come from outside, its label."""
        told: list[Feedback | Review] = []
        assert row.id is not None
        if row.status == "pending":
            saw = row.level == "assist" or (row.level == "partial" and not self.route.blind)
            told.append(Review(row.id, real, "person", "ann", row.time_us, 5.0, saw))
        elif row.audit:
            told.append(Review(row.id, real, "person", "ann", row.time_us, 5.0, kind="audit"))
        if self.random.random() < second and row.status == "pending":
            told.append(Review(row.id, real, "person", "bob", row.time_us, 5.0, kind="second"))
        if self.charter.target.truth == "external":
            told.append(Feedback(row.id, "label", real))
        return told

    def tell(self) -> None:
        """The truth that was withheld comes."""
        held, self.held = self.held, []
        labels = [one for one in held if isinstance(one, Feedback)]
        self._write(None, labels, [one for one in held if isinstance(one, Review)])

    def _write(self, batch: DecisionBatch | None, labels: list[Feedback], reviews: list[Review]) -> None:
        now, contract = self.clock.now(), bytes.fromhex(HASH)
        if batch is not None:
            payload = encode_decisions(self.fields, batch)
            self.writer.append(FrameKind.DECISION, payload, count=len(batch.id), contract=contract, time_us=now)
        if labels:
            self.writer.append(FrameKind.FEEDBACK, encode_feedback(labels), count=len(labels), time_us=now)
        if reviews:
            self.writer.append(FrameKind.REVIEW, encode_reviews(reviews), count=len(reviews), time_us=now)

    def events(self, action: str) -> list[str]:
        """The reasons of all events of a kind, oldest first."""
        return [event.reason for event in self.workspace.journal.read(action=action, limit=1000)]

    def close(self) -> None:
        self.writer.close()
        self.workspace.clock = self.real_clock
        self.workspace.close()
