"""The story **inspection**: a classifier of real photographs goes live, a lamp fails, people take over, and back.

The photographs and their types are real (see ``examples/inspection/README.md``); the lamp's failure is made by darkening
them, and the operator is simulated: both say so. Every figure is asked of the line, the way a user would ask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import polars as pl

from andon.core.clock import HOUR, iso, parse_time
from andon.data import dataset as datasets
from andon.data.dataset import Dataset
from andon.data.division import Wish, split_dataset
from andon.data.source import read
from andon.demo.making import interval, new_dataset
from andon.demo.operator_desk import OPERATOR, OPERATORS, OperatorDesk
from andon.demo.photographs import DIMMED, arrivals
from andon.demo.sheets import by_class, confusions, hours, priorities, two_digits
from andon.demo.stage import Stage
from andon.demo.traffic import Traffic
from andon.demo.watcher import Watcher
from andon.deploy.line import Act, Line
from andon.deploy.raters import of_doubles, rate
from andon.deploy.release import find_release, release
from andon.errors import Conflict, NotFound, Unavailable
from andon.measure.estimate import Estimate, wilson
from andon.measure.gate import Bound
from andon.measure.metric import parse_metric
from andon.model.bundle import bundle_path, load_profile
from andon.model.evaluate import Evaluation, evaluate
from andon.model.priority import errors
from andon.model.run import Run, predictions
from andon.model.training import Options, train
from andon.monitor.inputs import measured
from andon.monitor.threshold import Reference, alarm_alpha, judge, reference
from andon.monitor.watch import acknowledge_alarm, alarms
from andon.monitor.window import series
from andon.store import view
from andon.store.doubles import doubles

__all__ = ["BEGIN", "RATE", "Inspection"]

BEGIN = parse_time("2026-03-02T05:30")
#: Seconds of the story in one second: half an hour.
RATE = 1800.0
_OPEN, _CLOSE = parse_time("2026-03-02T06:00"), parse_time("2026-03-02T18:00")
#: The lamp fails and is repaired at full hours. Made, as is the pace at which photographs come.
_FAILS, _REPAIRED = parse_time("2026-03-02T11:00"), parse_time("2026-03-02T15:00")
#: Half to learn from, a fifth to judge by, the rest arrives on the line.
_PARTS = {"train": 0.5, "test": 0.2, "line": 0.3}
#: How often the simulated operator is wrong. An assumption, not a measurement.
OPERATOR_ERROR = 0.05
#: What is measured of every picture, whatever the model says.
_PICTURE = ("brightness", "contrast")
_SCIENTIST, _HEAD = "data scientist (scripted)", "head of quality (scripted)"


class Inspection:
    """One playing of the story on a stage that is set; chance (the split, the operator) is drawn with ``seed``."""

    def __init__(self, stage: Stage, seed: int = 7) -> None:
        self.stage = stage
        self.seed = seed
        self.project = stage.project
        self.target = self.project.charter.target
        self.watcher = Watcher(stage)
        self.line = Line(self.project.workspace, self.project.charter)

    def play(self) -> None:
        """All chapters, in order."""
        dataset = self.photographs()
        run = self.model(dataset)
        self.live(dataset, run)
        self.lamp()
        self.light()
        self.labels()
        self.accounts()

    # -- chapters ------------------------------------------------------------------------------------------------------

    def photographs(self) -> Dataset:
        """Freeze the photographs and split them, the very same pixels in one part."""
        stage = self.stage
        stage.chapter(1, "Photographs become a dataset")
        data = self.project.root / "data"
        raw = read(data / "images.tar", meta=data / "images.csv", image="image")
        dataset = new_dataset(self.project, raw, "inspection", actor=_SCIENTIST, note="X-SDD, a balanced sample")
        stage.say("people", f"{dataset.rows} photographs are frozen as {dataset.name!r} {dataset.version}; {dataset.rejected} could not be read.",
                  ", ".join(f"{name} {n}" for name, n in dataset.labels.items()))  # fmt: skip
        copies = raw.frame.group_by("pixel_sha1_12").len().filter(pl.col("len") > 1)
        found = split_dataset(
            self.project.workspace,
            dataset.version,
            Wish(_PARTS, group="pixel_sha1_12", seed=self.seed),
            actor=_SCIENTIST,
        )
        stage.say("people", "Split into " + ", ".join(f"{name} {part['n']}" for name, part in found.parts.items()) + ".",
                  f"groups of photographs with the very same pixels: {copies.height} ({copies['len'].sum()} photographs); each stays in one part")  # fmt: skip
        return dataset

    def model(self, dataset: Dataset) -> Run:
        """Train, and look closely at what came out."""
        stage, project = self.stage, self.project
        stage.chapter(2, "A model, type by type")
        options = Options(
            project.model_file, seed=self.seed, actor=_SCIENTIST, reason="first model", enrich=self._measured
        )
        run = train(project.workspace, project.charter, dataset.version, options, self._progress)
        stage.say(
            "machine", f"Run {run.id}: {run.wall_seconds:.1f} s, {run.peak_mb:.0f} MB at most, answers by {run.engine}."
        )
        rows = predictions(project.workspace, run)
        found = self._by_class(rows, f"on {rows.height} photographs that it never saw (part {run.part})")
        stage.table(confusions(found))
        stage.table(priorities(errors(rows, by=["label"])))
        rows.select("label", "prediction", "confidence").write_csv(project.root / "predictions.csv")
        stage.say("look", "The sample is balanced, so its shares are not the mill's: there the order may be another.",
                  "the same table of any CSV: andon errors predictions.csv --by label")  # fmt: skip
        return run

    def live(self, dataset: Dataset, run: Run) -> None:
        """Release, switch, let the model answer; a morning on the line."""
        stage, project = self.stage, self.project
        stage.chapter(3, "Live")
        made = release(project.workspace, project.charter, run.id, actor=_SCIENTIST, reason="first model")
        self.live_version = made.version
        stage.say(
            "machine", f"{made.version} is released.", "\n".join(f"gate: {one['sentence']}" for one in made.gates)
        )
        self._open_line(dataset)
        self._did(self.line.begin(actor=_HEAD, reason="the charter: people until a release is live"))
        self._did(self.line.switch(made.version, actor=_HEAD, reason="it met its goals"))
        self._did(self.line.automate("full", actor=_HEAD, reason="the line sorts by the model from now on"))
        self._expected("brightness")
        self._until(_FAILS)
        self._hours(_OPEN)

    def lamp(self) -> None:
        """The lamp fails; the line notices and asks people."""
        stage = self.stage
        stage.chapter(4, "A lamp fails (MADE)")
        stage.say(
            "look",
            f"{iso(_FAILS)[11:16]}: the lamp fails. MADE: from here on real photographs are darkened to {DIMMED:.0%}.",
        )
        self._until_seen(_REPAIRED, lambda: self.watcher.fallen)
        if self.watcher.fallen:
            stage.say("people", f"{iso(stage.now)[11:16]}: photographs are sorted by eye again. The operator is SIMULATED and {OPERATOR_ERROR:.0%} wrong.",
                      "Nobody was asked: `then: people` in the charter. No label has come yet; only the pictures tell.")  # fmt: skip
        else:
            stage.say("look", "The line has not noticed.")
        self._acknowledge("brightness", "the lamp over the strip is dead; a new one is on its way")
        self._until(_REPAIRED)
        self._hours(_FAILS)
        self._twice()

    def light(self) -> None:
        """A new lamp: the alarm resolves by itself, a person gives the line back to the model."""
        stage = self.stage
        stage.chapter(5, "Light again")
        stage.say("good", f"{iso(_REPAIRED)[11:16]}: a new lamp; the photographs are as they were taken.")
        self._until_seen(_CLOSE, lambda: not self._firing("brightness"))
        if not self._firing("brightness"):
            self._did(self.line.automate("full", actor=_HEAD, reason="the lamp is new and brightness is as it was"))
        self._until(_CLOSE)
        self._hours(_REPAIRED)

    def labels(self) -> None:
        """The quality office has looked: what the day was worth, type by type."""
        stage = self.stage
        stage.chapter(6, f"The types are known, {self.target.delay_us // HOUR} hours later")
        self._until(_CLOSE + self.target.delay_us + HOUR // 2)
        rows = view.outcomes(self.project.workspace, truth=self.target.truth).filter(pl.col("label").is_not_null())
        dark = (pl.col("time_us") >= _FAILS) & (pl.col("time_us") < _REPAIRED)
        auto = pl.col("decided_by") == "model"
        self._by_class(rows.filter(auto & ~dark), "live: decided by the model, lamp in order")
        stage.say(
            "look", f"In the dark, before people took over, the model was right in {_right(rows.filter(auto & dark))}."
        )
        by_eye = rows.filter(~auto & dark)
        stage.say("people", f"In the dark the {OPERATOR} was right in {_right(by_eye)}.",
                  f"{self.live_version}, asked unseen meanwhile, would have been in {_right(by_eye.with_columns(prediction='suggestion'))}")  # fmt: skip
        self._when()

    def accounts(self) -> None:
        """The end: everything that was answered is in the log, once."""
        stage = self.stage
        self.traffic.settle()
        rows = view.decisions(self.project.workspace)
        by = dict(rows.group_by("decided_by").len().sort("len", descending=True).iter_rows())
        ok, bad = self.project.workspace.journal.verify()
        stage.say("good" if rows.height == self.traffic.sent == rows["id"].n_unique() and ok else "stop",
                  f"{self.traffic.sent:,} photographs sent, {rows.height:,} in the log, {rows['id'].n_unique():,} different ids; "
                  f"{self.traffic.labels_sent:,} labels.",
                  "decided by " + ", ".join(f"{who}: {n:,}" for who, n in by.items())
                  + f"\njournal: hash chain {'whole' if ok else f'broken at {bad}'}")  # fmt: skip

    # -- how it is played ----------------------------------------------------------------------------------------------

    def _open_line(self, dataset: Dataset) -> None:
        """The photographs of the part ``line``, in an order drawn once, and the operator who waits for them."""
        rows = datasets.load(self.project.workspace, dataset.version, part="line")
        rows = rows.sample(fraction=1.0, shuffle=True, seed=self.seed)
        dark = range(_FAILS, _REPAIRED)
        cases = arrivals(rows, self.target.name, since=_OPEN, until=_CLOSE, dark=dark)
        self.hourly = len(cases) * HOUR // (_CLOSE - _OPEN)
        truths = {case.id: case.result for case in cases}
        self.desks = [
            OperatorDesk(self.project, truths, error=OPERATOR_ERROR, seed=self.seed + at, name=name)
            for at, name in enumerate(OPERATORS)
        ]
        self.traffic = Traffic(
            self.stage, cases, label_delay_us=self.target.delay_us, patience=len(cases), look=self._look
        )
        self.stage.say("people", f"{len(cases)} photographs that were kept apart will arrive, {self.hourly} an hour.")  # fmt: skip

    def _look(self, now: int) -> None:
        for desk in self.desks:
            desk.work()
        self.watcher.look(now)

    def _until(self, time_us: int, **options: object) -> None:
        self.traffic.run_until(time_us, **options)  # type: ignore[arg-type]

    def _until_seen(self, time_us: int, done: Callable[[], bool]) -> None:
        """Up to a time, or until the line has seen something; if it is late (a busy machine) the clock waits for it."""

        def looked() -> bool:
            self._look(self.stage.now)
            return done()

        self._until(time_us, done=done)
        with suppress(Unavailable):
            self.stage.until(looked, 20.0, "the controller did not see it")

    def _measured(self, frame: pl.DataFrame) -> pl.DataFrame:
        return measured(frame, self.project.charter.fields())

    def _progress(self, step: str, number: int, of: int) -> None:
        self.stage.console.print(f"              {number}/{of} {step}", style="dim")

    def _twice(self) -> None:
        """What second looks say of what was sorted by eye, and of the model in the dark: hours before any label."""
        self.traffic.settle()
        looks = doubles(self.project.workspace, _FAILS)
        found = rate(of_doubles(looks), version=self.live_version, classes=self.target.classes)
        self.stage.say("people", f"Of what was sorted by eye a second operator looked at {looks.height} photographs again, blindly. "
                       f"So one of them errs in {interval(found.people_error)}, {self.live_version} in the dark in {interval(found.model_error)}.",
                       f"no label has come yet; {found.verdict}")  # fmt: skip

    def _firing(self, metric: str) -> bool:
        alarm = alarms(self.project.workspace).get(metric)
        return alarm is not None and alarm.active

    # -- how it is told ------------------------------------------------------------------------------------------------

    def _did(self, act: Act | None) -> None:
        if act is not None:
            self.watcher.forget_routes()
            kind = "machine" if act.route.levels.get("*") == "full" else "people"
            self.stage.say(kind, act.sentence, "\n".join((f"{act.route.actor}: {act.route.reason}", *act.notes)))

    def _acknowledge(self, key: str, note: str) -> None:
        with suppress(Conflict, NotFound):  # it never rang, or was resolved since we looked
            acknowledge_alarm(self.project.workspace, key, _HEAD, note)
            self.stage.say("good", f"{key} acknowledged by the {_HEAD}", note)

    def _by_class(self, rows: pl.DataFrame, title: str) -> Evaluation:
        """Show how good the answers in these rows are, type by type."""
        found = evaluate(rows, classes=self.target.classes)
        self.stage.table(by_class(found, dict(rows.group_by("label").len().iter_rows()), title))
        accuracy, macro = two_digits(found.metrics["accuracy"]), two_digits(found.metrics["macro_f1"])
        self.stage.say("machine", f"All {rows.height} together: accuracy {accuracy}, macro F1 {macro}.")
        return found

    def _hours(self, since: int) -> None:
        """Brightness and contrast by hour, as the line has measured them."""
        self.stage.table(hours({name: self._series(name, since) for name in _PICTURE}))

    def _series(self, name: str, since: int) -> list[tuple[int, Estimate]]:
        return series(self.project.workspace, name, parse_metric(f"mean({name})"), since_us=since)

    def _limits(self, metric: str) -> Reference:
        """What the live release's reference expects of a metric, as the controller reads it."""
        workspace, charter = self.project.workspace, self.project.charter
        bundle = find_release(workspace, self.live_version).bundle
        alpha = alarm_alpha(charter.alarms.false_per_month, charter.monitor.window_us, len(_PICTURE))
        return reference(load_profile(bundle_path(workspace.home, bundle), bundle).windows.get(metric, ()), alpha)

    def _expected(self, metric: str) -> None:
        """Where a bound that nobody wrote down comes from."""
        limits = self._limits(metric)
        self.stage.say(
            "look",
            f"An hour with {self.hourly} photographs is expected to have a {metric} of {_span(limits.bound(self.hourly))}.",
            f"learnt from the training photographs in {limits.windows} windows; so wide that it may ring for nothing "
            f"{self.project.charter.alarms.false_per_month:g} time a month",
        )

    def _when(self) -> None:
        """When each alarm rang for the first time: what pictures tell at once, labels tell hours later."""
        rang: dict[str, int] = {}
        for event in self.project.workspace.journal.read(limit=10_000, action="alarm.fired"):
            rang.setdefault(event.subject, event.time_us)
        times = ((key, iso(time_us)[11:16], (time_us - _FAILS) / HOUR) for key, time_us in rang.items())
        lines = [f"{key} rang at {when}, {late:.1f} hours after the lamp failed." for key, when, late in times]
        lines.append(
            f"An hour is judged when it is over; the controller looks once a second, here {RATE / 60:.0f} minutes."
        )
        self.stage.say("look", lines[0], "\n".join(lines[1:]))
        for name in (name for name in _PICTURE if name not in rang):
            least = min((found for start, found in self._series(name, _FAILS) if start < _REPAIRED), key=_value)
            self.stage.say("look", f"{name} never rang.", judge(name, least, self._limits(name)).sentence)


def _span(bound: Bound) -> str:
    return f"{bound.low:.3f} to {bound.high:.3f}"


def _value(estimate: Estimate) -> float:
    return estimate.value or 0.0


def _right(rows: pl.DataFrame) -> str:
    """How many of these are right, with the interval.

    >>> _right(pl.DataFrame({"label": ["a", "b"], "prediction": ["a", "a"]}))
    '1 of 2: 50.0 % [9.5, 90.5]'
    """
    if not rows.height:
        return "none of 0"
    right = int((rows["label"] == rows["prediction"]).sum())
    return f"{right} of {rows.height}: {interval(wilson(right, rows.height))}"
