"""A release: a sealed bundle that met its goals, under a version of the project (v1, v2, ...).

Every goal of the charter that the held-out data can tell is a gate: the whole interval must be inside the bound. A gate
that fails stops the release, one that is unsure stops it too (with another exit code); a person may override both, with
a reason that is kept. A goal that only live traffic can tell (latency, say) is listed as such; give it an alarm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.core.verdict import Verdict, worst
from andon.errors import Conflict, GateFailed, NotEnoughEvidence, NotFound, UsageError
from andon.measure.gate import GateResult, gate
from andon.measure.slice import parse_slice
from andon.model.bundle import bundle_path, load_bundle
from andon.model.evaluate import Measure, charter_measures
from andon.model.run import Run, find_run, predictions

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Gates", "Release", "acceptance", "find_release", "held_out", "release", "releases"]


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bundle under a version, with the gates it met. ``later`` are the goals that only live traffic can tell.

    ``overridden`` says that a person released it although a gate failed or was unsure; ``reason`` is why.
    """

    version: str
    bundle: str
    run: str
    dataset: str
    contract: str
    verdict: str
    gates: list[dict[str, Any]] = []
    later: tuple[str, ...] = ()
    overridden: bool = False
    actor: str = ""
    reason: str = ""
    time_us: int = 0
    wall_us: int = 0


class Gates(msgspec.Struct, frozen=True):
    """Every acceptance gate, and the names of the goals that have to wait for live traffic."""

    results: list[GateResult]
    later: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of them; without any gate ``unsure``."""
        return worst(result.verdict for result in self.results)


def acceptance(charter: Charter, records: pl.DataFrame) -> Gates:
    """Hold held-out records against the charter's goals; a ``critical`` metric also on every slice.

    >>> from andon.scope.charter import parse
    >>> charter = parse('''
    ... project: p
    ... inputs: {n: int}
    ... target: {name: y, classes: [a, b]}
    ... safe_default: a
    ... metrics: {error: {of: error_rate, goal: "<= 0.5"}, speed: {of: latency_p95_ms, goal: "<= 500"}}
    ... ''')
    >>> found = acceptance(charter, pl.DataFrame({"label": ["a"] * 20, "prediction": ["a"] * 20}))
    >>> found.verdict.value, found.later, found.results[0].sentence
    ('pass', ('speed',), 'error is 0 (0 to 0.161, n 20): inside <= 0.5')
    """
    goals = [one for one in charter_measures(charter) if charter.metrics[one.name].goal is not None]
    now = [one for one in goals if not one.missing(records.columns)]
    results = [result for one in now for result in _gates(charter, one, records)]
    return Gates(results, tuple(one.name for one in goals if one not in now))


def _gates(charter: Charter, one: Measure, records: pl.DataFrame) -> list[GateResult]:
    spec = charter.metrics[one.name]
    assert spec.goal is not None
    results = [gate(one.name, one.of(records), spec.goal)]
    for name, text in charter.slices.items() if spec.critical else ():
        part = parse_slice(text)
        if part.columns <= set(records.columns):
            results.append(gate(one.name, one.of(part.filter(records)), spec.goal, name))
    return results


def release(
    workspace: Workspace, charter: Charter, run_id: str, *, actor: str, reason: str = "", override: bool = False
) -> Release:
    """Give a run's bundle the next version, if it meets the charter's goals on the part it never learnt from.

    Raises ``GateFailed`` or ``NotEnoughEvidence`` with every gate's sentence unless ``override`` and a ``reason`` are
    given; ``NotFound`` for an unknown or failed run, ``Conflict`` when the run was released already, ``Corrupt`` when
    the bundle is no longer as it was sealed.
    """
    run = find_run(workspace, run_id)
    if run.status != "done":
        raise NotFound(f"run {run.id} {run.status}, so there is nothing to release: {run.error}")
    if override and not reason.strip():
        raise UsageError(
            "releasing against a gate needs a reason", hint="say why with --reason; it is kept in the journal"
        )
    _check_new(workspace, run)
    load_bundle(bundle_path(workspace.home, run.bundle), run.bundle, charter.checklist.privacy.reach)
    gates = acceptance(charter, predictions(workspace, run))
    if not override:
        _refuse(run, gates)
    return _publish(workspace, run, gates, actor, reason)


def _check_new(workspace: Workspace, run: Run) -> None:
    for known in releases(workspace):
        if known.run == run.id:
            raise Conflict(f"run {run.id} is released already, as {known.version}")


def _refuse(run: Run, gates: Gates) -> None:
    """Raise unless every gate passed."""
    if gates.verdict is Verdict.PASS:
        return
    open_ = [result.sentence for result in gates.results if result.verdict is not Verdict.PASS]
    if not gates.results:
        open_ = ["the charter has no goal that the held-out data can tell"]
    message = f"run {run.id} is not released: {'; '.join(open_)}"
    if gates.verdict is Verdict.UNSURE:
        hint = "bring more labelled data, or release with --override and a --reason"
        raise NotEnoughEvidence(message, hint=hint)
    raise GateFailed(
        message, hint="improve the model where `andon errors` points, or release with --override and a --reason"
    )


def _publish(workspace: Workspace, run: Run, gates: Gates, actor: str, reason: str) -> Release:
    passed = gates.verdict is Verdict.PASS

    def make(version: str) -> Release:
        return Release(
            version=version,
            bundle=run.bundle,
            run=run.id,
            dataset=run.dataset,
            contract=run.contract,
            verdict=gates.verdict.value,
            gates=[result.to_dict() for result in gates.results],
            later=gates.later,
            overridden=not passed,
            actor=actor,
            reason=reason,
            time_us=workspace.clock.now(),
            wall_us=workspace.clock.wall(),
        )

    version = workspace.records.add("release", "v", make)
    made = find_release(workspace, version)
    evidence = {"run": run.id, "bundle": run.bundle, "verdict": made.verdict, "gates": made.gates}
    workspace.journal.append("model.release", version, actor, reason, {**evidence, "overridden": made.overridden})
    return made


def releases(workspace: Workspace) -> list[Release]:
    """All releases, oldest first."""
    return workspace.records.list("release", Release)


def find_release(workspace: Workspace, version: str) -> Release:
    """A release by its version; raises ``NotFound`` with the closest."""
    return workspace.records.get("release", version, Release)


def held_out(workspace: Workspace, version: str) -> pl.DataFrame:
    """What a release said of the rows it was accepted on: their inputs, ``model``, ``confidence`` and ``truth``."""
    run = find_run(workspace, find_release(workspace, version).run)
    frame = (
        predictions(workspace, run)
        .drop("model", "truth", strict=False)
        .rename({"prediction": "model", "label": "truth"})
    )
    return frame.filter(pl.col("truth").is_not_null() & pl.col("model").is_not_null())
