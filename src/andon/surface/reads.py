"""What several parts of one look at the line want to know, each read once: metrics, runs, releases, alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.core.record import Route
from andon.measure.estimate import Estimate
from andon.surface.station import Known

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.release import Release
    from andon.model.run import Run
    from andon.monitor.alarm import Alarm
    from andon.monitor.overview import View

__all__ = ["WINDOWS", "alarms_of", "last_windows", "metrics_of", "releases_of", "runs_of", "shown_run"]

WINDOWS = 24
"""How many windows a trend shows."""


def runs_of(project: Project, known: Known) -> list[Run] | None:
    """All runs, oldest first."""
    from andon.model.run import runs

    return known.once("runs", lambda: runs(project.workspace))


def releases_of(project: Project, known: Known) -> list[Release] | None:
    """All releases, oldest first."""
    from andon.deploy.release import releases

    return known.once("releases", lambda: releases(project.workspace))


def alarms_of(project: Project, known: Known) -> dict[str, Alarm] | None:
    """Every alarm that ever judged a window, by key."""
    from andon.monitor.watch import alarms

    return known.once("alarms", lambda: alarms(project.workspace))


def shown_run(project: Project, known: Known, route: Route | None) -> tuple[Release | None, Run] | None:
    """The run behind the live release, else of the newest release, else the newest, with its release if it has one.

    None where nothing is trained, or nothing can be read: then ``known.why`` says so.
    """
    trained, made = runs_of(project, known), releases_of(project, known)
    if not trained or made is None:
        return None
    by_id = {run.id: run for run in trained}
    live = next((one for one in made if route is not None and one.version == route.live), None)
    chosen = live or (made[-1] if made else None)
    if chosen is not None and chosen.run in by_id:
        return chosen, by_id[chosen.run]
    return None, trained[-1]


def metrics_of(project: Project, known: Known) -> dict[str, View] | None:
    """Every metric's last windows: they cost one query together."""
    from andon.monitor.overview import overview

    def read() -> dict[str, View]:
        return {view.name: view for view in overview(project.workspace, project.charter, windows=WINDOWS)}

    return known.once("metrics", read)


def last_windows(
    project: Project, known: Known, metric: str, cohort: str = ""
) -> tuple[Estimate | None, tuple[float | None, ...]]:
    """The last window of a metric that is over, and the trend up to now."""
    from andon.monitor.overview import overview

    if cohort:
        found = known.ask(
            lambda: overview(project.workspace, project.charter, cohort=cohort, only=[metric], windows=WINDOWS)
        )
        view = found[0] if found else None
    else:
        view = (metrics_of(project, known) or {}).get(metric)
    return (view.current, tuple(point.estimate.value for point in view.points)) if view is not None else (None, ())
