"""The story **screening**: from people only to a model that decides what it is sure of, two real breaks, and new models.

Real tests on their real dates (see ``examples/screening/README.md``); the clinic is simulated and says so. Every figure
is asked of the line, the way a user would ask. The line moves by itself where the charter lets it: what the audit breaks
is taken back, and releases go live, or back, by evidence.
"""

from __future__ import annotations

from contextlib import suppress

import polars as pl

from andon.core.clock import DAY, iso, parse_time
from andon.core.record import Route
from andon.demo.cases import draw
from andon.demo.clinic import DOCTORS, Clinic
from andon.demo.making import Made, compare_on_test, interval, make_release
from andon.demo.rolling import roll_out, swapped, tell_doubles, tell_raters, way_back
from andon.demo.stage import Stage, percent
from andon.demo.traffic import Traffic
from andon.demo.watcher import Watcher
from andon.deploy.line import Act, Line
from andon.deploy.paired import shadow_comparison
from andon.errors import Conflict, NotFound
from andon.measure.estimate import wilson
from andon.measure.metric import parse_metric
from andon.monitor.watch import acknowledge_alarm
from andon.monitor.window import series
from andon.store import view

__all__ = ["BEGIN", "RATE", "Screening"]

BEGIN = parse_time("2020-03-11")
#: Seconds of the story in one second, at most: five days.
RATE = 5.0 * 86400
#: From this day on, when releases go live by evidence, days are slower, and there are as many cases as evidence needs.
BUSY = ("2020-10-20", 600)
SLOW = 0.5 * 86400
_SCIENTIST, _ENGINEER, _OWNER = "data scientist (scripted)", "engineer (scripted)", "owner (scripted)"


class Screening:
    """One playing of the story on a stage that is set; ``per_day`` cases of every day, drawn with ``seed``."""

    def __init__(self, stage: Stage, per_day: int = 150, seed: int = 7) -> None:
        self.stage = stage
        self.per_day = per_day
        self.seed = seed
        cases = draw(self.stage.project.root / "data" / "covid_tests.parquet", self.per_day, self.seed, BUSY)
        truths = {case.id: case.result for case in cases}
        project = self.stage.project
        self.watcher = Watcher(self.stage)
        self.traffic = Traffic(
            self.stage,
            cases,
            label_delay_us=project.charter.target.delay_us,
            patience=2 * self.per_day,
            look=self.watcher.look,
        )
        self.clinic = Clinic(str(project.root), truths, seed=self.seed)
        self.line = Line(project.workspace, project.charter)
        self.made: list[Made] = []

    def play(self) -> None:
        """All chapters, in order."""
        try:
            self.people()
            self.shadow()
            self.partial()
            self.breaks()
            self.renewal()
            self.rollout()
            self.mistake()
            self.accounts()
        finally:
            self.clinic.close()

    # -- chapters ------------------------------------------------------------------------------------------------------

    def people(self) -> None:
        """March: every case goes to people."""
        stage = self.stage
        stage.chapter(1, "People only")
        self._did(self.line.begin(actor=_OWNER, reason="the charter: people first"))
        stage.say("people", f"The line opens. Every case goes to the inbox, where {len(DOCTORS)} SIMULATED doctors answer, wrong in "
                  + ", ".join(f"{error:.0%}" for error in DOCTORS.values()) + ".",
                  "No record says what clinicians would have decided, so programs answer in their place.\n"
                  "Comparing a model with them proves nothing about people.")  # fmt: skip
        self._until("2020-04-01")
        self.traffic.settle()
        rows = self._rows("2020-03-11", "2020-04-01").filter(pl.col("decided_by") == "person")
        known = rows.filter(pl.col("label").is_not_null())
        wrong = int((known["prediction"] != known["label"]).sum())
        late = self._rows("2020-03-11", "2020-04-01").filter(pl.col("decided_by") == "safe_default").height
        stage.say("people", f"{rows.height:,} cases decided by the simulated clinic, {late} answered by the deadline; "
                  f"wrong in {interval(wilson(wrong, known.height))} of {known.height:,} whose PCR result has come.")  # fmt: skip
        tell_doubles(stage)

    def shadow(self) -> None:
        """April: a first model watches."""
        stage = self.stage
        stage.chapter(2, "A model in the shadow of people")
        self.made.append(make_release(stage, since=BEGIN, name="first weeks", actor=_SCIENTIST, reason="first model"))
        self._did(self.line.shadow("v1", actor=_ENGINEER, reason="let it predict unseen and compare"))
        self._until("2020-04-08")
        self.traffic.settle()
        found = shadow_comparison(stage.project.workspace, stage.project.charter, "v1")
        stage.say("machine", found.sentence,
                  f"{found.outcomes:,} with PCR result: v1 wrong {interval(found.model_error)}, the simulated clinic {interval(found.other_error)};\n"
                  f"discordant: only v1 right {found.only_model_right}, only the clinic right {found.only_other_right}.")  # fmt: skip
        tell_raters(stage, found)

    def partial(self) -> None:
        """Confident negatives automatic, once the labels can carry the promise."""
        stage = self.stage
        stage.chapter(3, "Partial automation: confident negatives")
        self._until("2020-05-20", done=lambda: self.watcher.suggested is not None)
        self._automate_when_ready("v1", last="2020-06-30", again_days=21)
        begun = stage.now
        self._until_us(begun + 9 * DAY)
        self._week(begun + DAY, stage.now)

    def breaks(self) -> None:
        """May and July: the data change under the model."""
        stage = self.stage
        stage.chapter(4, "The world changes, twice")
        self._until("2020-06-15", done=lambda: self.watcher.is_firing("cough"))
        self._symptoms()
        self._acknowledge("cough", f"symptoms are recorded differently; {self._promise_now()}")
        self._until("2020-07-01")
        self._week(stage.now - 7 * DAY, stage.now)
        self._until_fallen("2020-10-04")

    def _until_fallen(self, last: str) -> None:
        """Let the line run until it takes automation back by itself; the alarm that rings before is acknowledged."""
        stage = self.stage
        self.watcher.fallen = False
        self._until(last, done=lambda: self.watcher.is_firing("promise") or self.watcher.fallen)
        if not self.watcher.fallen and self.watcher.is_firing("promise"):
            self._acknowledge("promise", f"{self._promise_now()}; the audit takes the level back when that is shown")
        self._until(last, done=lambda: self.watcher.fallen)
        if self.watcher.fallen:
            stage.say("people", f"All cases are with people again; {self._promise_now()}.")
        else:
            stage.say("look", f"The line did not fall back by itself; {self._promise_now()}.")

    def renewal(self) -> None:
        """October: a model trained on recent data."""
        stage = self.stage
        stage.chapter(5, "A new model, from what the line has recorded")
        self._until("2020-10-05")
        since = stage.now - 42 * DAY
        self.made.append(
            make_release(stage, since=since, name="recent weeks", actor=_SCIENTIST, reason="the population changed")
        )
        stage.console.print(compare_on_test(stage, self.made[0], self.made[1], "error"))
        self._did(self.line.shadow("v2", actor=_ENGINEER, reason="watch it beside people first"))
        self._until("2020-10-20")
        self.traffic.settle()
        for against in ("people", "live"):
            found = shadow_comparison(stage.project.workspace, stage.project.charter, "v2", against)
            stage.say("machine", found.sentence, f"{found.outcomes:,} with PCR result: v2 wrong {interval(found.model_error)}, "
                      f"{found.against} {interval(found.other_error)}; {found.verdict}")  # fmt: skip

    def rollout(self) -> None:
        """November: v2 goes live by evidence, and the way back is there."""
        stage = self.stage
        stage.chapter(6, "A release goes live by evidence")
        self._until("2020-10-30")
        self.traffic.settle()
        self._did(self.line.automate("partial", actor=_OWNER, reason=self._bargain()))
        self._until("2020-11-02")
        self.traffic.pace(SLOW)
        if self._roll_out("v2", "it learnt from the autumn", "2020-11-10"):
            way_back(self.line, "v2", _OWNER, self._did)

    def mistake(self) -> None:
        """A release that learnt from a faulty export, and back by itself."""
        stage = self.stage
        stage.chapter(7, "A bad release, and back by itself")
        stage.say("look", "MADE: the next export from the log swaps yes and no of every symptom; nobody notices.")
        made = make_release(
            stage,
            since=stage.now - 42 * DAY,
            name="recent weeks, swapped",
            actor=_SCIENTIST,
            reason="newer data",
            fault=swapped,
        )
        self.made.append(made)
        stage.say("look", "It passes its gates: what it was tested on has the same fault.")
        self._roll_out("v3", "newer data", "2020-11-13")
        self.traffic.pace(RATE)
        self._until("2020-11-13")

    def accounts(self) -> None:
        """The end: everything that was answered is in the log, once."""
        stage = self.stage
        self.traffic.settle()
        rows = view.decisions(stage.project.workspace)
        by = dict(rows.group_by("decided_by").len().sort("len", descending=True).iter_rows())
        ok, bad = stage.project.workspace.journal.verify()
        stage.say("good" if rows.height == self.traffic.sent and rows["id"].n_unique() == rows.height else "stop",
                  f"{self.traffic.sent:,} cases sent, {rows.height:,} in the log, {rows['id'].n_unique():,} different ids.",
                  "decided by " + ", ".join(f"{who}: {n:,}" for who, n in by.items())
                  + f"\njournal: hash chain {'whole' if ok else f'broken at {bad}'}")  # fmt: skip

    # -- how it is told ------------------------------------------------------------------------------------------------

    def _did(self, act: Act | None, more: str = "") -> None:
        if act is not None:
            self.watcher.forget_routes()
            notes = "\n".join((f"{act.route.actor}: {act.route.reason}", *act.notes, *([more] if more else [])))
            self.stage.say(_colour(act.route), act.sentence, notes)

    def _roll_out(self, version: str, reason: str, last: str) -> bool:
        return roll_out(
            self.stage,
            self.traffic,
            version,
            actor=_ENGINEER,
            reason=reason,
            until_us=parse_time(last),
            look=self.watcher.look,
        )

    def _automate_when_ready(self, version: str, *, last: str, again_days: float) -> None:
        """Ask for partial automation; where the evidence is short, ask again later.

        Every look spends part of the promised confidence, so it is not asked every day.
        """
        ask = self.stage.now
        while True:
            self._until_us(ask)
            self.traffic.settle()
            act = self.line.automate("partial", actor=_OWNER, reason=self._bargain())
            self._did(act)
            if f"{version}/*" in act.route.thresholds or ask >= parse_time(last):
                return
            ask += round(again_days * DAY)

    def _week(self, since: int, until: int) -> None:
        self.traffic.settle()
        rows = view.outcomes(self.stage.project.workspace, since, until)
        auto = rows.filter(pl.col("decided_by") == "model")
        known, audited = auto.filter(pl.col("label").is_not_null()), auto.filter(pl.col("human").is_not_null())
        wrong, other = (
            int((known["prediction"] != known["label"]).sum()),
            int((audited["prediction"] != audited["human"]).sum()),
        )
        self.stage.say("machine", f"Week to {iso(until)[:10]}: {rows.height:,} cases, {percent(auto.height / max(1, rows.height))} automatic, "
                       f"of these wrong {interval(wilson(wrong, known.height))}.",
                       f"random audit: doctors looked at {audited.height} of them again, blindly, and said otherwise in {other}")  # fmt: skip

    def _symptoms(self) -> None:
        """April against May: what was recorded, how many were ill, how good the answers were."""
        found = []
        for since, until in (("2020-04-01", "2020-05-01"), ("2020-05-01", iso(self.stage.now)[:10])):
            rows = self._rows(since, until)
            known = rows.filter(pl.col("label").is_not_null())
            right, ill = (
                int((known[one] == other).sum())
                for one, other in (("prediction", known["label"]), ("label", "positive"))
            )
            found.append((right / known.height, ill / known.height))
            self.stage.say("look", f"{since} to {until}: cough in {percent(_mean(rows['cough']))} of cases, "
                           f"positive {interval(wilson(ill, known.height))}, accuracy {interval(wilson(right, known.height))}.")  # fmt: skip
        (before, ill_before), (after, ill_after) = found
        if after > before and ill_after < ill_before:
            self.stage.say("look", "Accuracy looks better; but fewer people are ill, so it is easier to be right.")

    def _bargain(self) -> str:
        partial = self.stage.project.charter.automation.partial
        only = " and ".join(partial.only or ("any",))
        return f"confident {only}, at most {percent(partial.max_error)} of them wrong"

    def _promise_now(self) -> str:
        """How often automatic answers were wrong in the newest week whose labels are in."""
        project = self.stage.project
        of = parse_metric(project.charter.metrics["promise"].of, project.charter.target.classes)
        mature = self.stage.now - project.charter.target.delay_us - project.charter.monitor.window_us
        weeks = series(project.workspace, "promise", of, until_us=mature)
        if not weeks:
            return "no automatic answer has been judged yet"
        return (
            f"automatic answers are wrong in {interval(weeks[-1][1])} of the cases (week from {iso(weeks[-1][0])[:10]})"
        )

    def _acknowledge(self, key: str, note: str) -> None:
        with suppress(Conflict, NotFound):  # it never rang, or was resolved since we looked
            acknowledge_alarm(self.stage.project.workspace, key, _OWNER, note)
            self.stage.say("good", f"{key} acknowledged by the {_OWNER}", note)

    def _rows(self, since: str, until: str) -> pl.DataFrame:
        self.traffic.settle()
        return view.outcomes(self.stage.project.workspace, parse_time(since), parse_time(until))

    def _until(self, date: str, **options: object) -> None:
        self._until_us(parse_time(date), **options)

    def _until_us(self, time_us: int, **options: object) -> None:
        self.traffic.run_until(time_us, **options)  # type: ignore[arg-type]


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return float(mean) if isinstance(mean, (int, float)) else None


def _colour(route: Route) -> str:
    if route.candidate is not None:
        return "candidate"
    return "people" if route.levels.get("*") in ("human", "shadow") else "machine"
