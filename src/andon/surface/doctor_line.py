"""The doctor's look at the line: its database and journal, its routes, its workers and its controller."""

from __future__ import annotations

from andon.surface.doctor_check import Case, Check, good, look, stop, unknown
from andon.surface.station import count

__all__ = ["controller", "database", "journal", "routes", "workers"]

_LATEST = 1_000
_ROUTES = 50
_SILENT = 10.0
_GONE = 60.0
_ACTS = 15.0  # seconds that a round of the controller takes at most
_NOT_OPEN = "the workspace cannot be opened"


def database(case: Case) -> Check:
    """Reachable, and at the newest migration; asked without migrating it. Sound inside, when everything is looked at."""
    from andon.store.extent import database_damage
    from andon.store.tables import HEAD_REVISION

    if case.workspace is None:
        return unknown("database", _NOT_OPEN)
    db = case.workspace.db
    found = db.revision()
    kind = "SQLite" if db.sqlite else "PostgreSQL"
    facts = {"kind": kind, "migration": found, "newest": HEAD_REVISION}
    if found is None:
        return stop("database", "it is empty, but was in use before", "restore it from a backup", **facts)
    if found > HEAD_REVISION:
        words = f"it is at migration {found}, this release knows {HEAD_REVISION}"
        return stop("database", f"{words}: a newer release wrote it", "upgrade Andon", **facts)
    if found != HEAD_REVISION:
        words = f"it is at migration {found}, this release wants {HEAD_REVISION}"
        return look("database", words, "the next command that opens it migrates it; keep a copy before", **facts)
    if case.deep and (said := database_damage(db)):
        return stop("database", f"SQLite says: {said}", "restore it from a backup", **facts)
    return good("database", f"{kind} answers and is at the newest migration, {found}", **facts)


def journal(case: Case) -> Check:
    """The chain of hashes: whole when everything is looked at, else its newest part."""
    if case.workspace is None:
        return unknown("journal", _NOT_OPEN)
    chain = case.workspace.journal
    found = case.known.ask(lambda: chain.check(None if case.deep else _LATEST))
    if found is None:
        return unknown("journal", case.known.why)
    facts = {"events": found.events, "first": found.first, "head": found.head, "seconds": round(found.seconds, 3)}
    if not found.sound:
        words = f"the journal was changed: event {found.bad} does not fit: {found.fault}"
        return stop("journal", words, "compare it with a backup", **facts, first_bad=found.bad)
    part = "" if found.first == 1 else f"the newest {found.events:,} of "
    whole = found.events if found.first == 1 else found.first + found.events - 1
    return good(
        "journal", f"{part}{count(whole, 'event')}, each follows the one before; head {found.head[:12]}", **facts
    )


def routes(case: Case) -> Check:
    """The route files: readable, and the newest one announced to every worker."""
    from andon.store.routes import RoutePlane

    if case.workspace is None:
        return unknown("routes", _NOT_OPEN)
    plane = RoutePlane(case.workspace.routes.directory)  # a look of its own: what it finds unreadable is as of now
    try:
        found, word = plane.history(None if case.deep else _ROUTES), plane.word()
    finally:
        plane.close()
    faults = list(plane.faults.values())
    newest = found[0].epoch if found else 0
    facts = {"newest": newest, "announced": word, "unreadable": len(faults)}
    if faults and newest < word:
        return stop(
            "routes",
            f"{faults[0]}; route {newest} is in force instead",
            "look at who answers, and publish anew",
            **facts,
        )
    if newest < word:
        words = f"route {word} was announced and its file is gone; route {newest} is in force instead"
        return stop("routes", words, "look at who answers, and publish anew", **facts)
    if faults:
        return look("routes", faults[0], "an old route; nothing stands on it but the history", **facts)
    if newest > word:
        return look(
            "routes",
            f"route {newest} is there but was not announced",
            "the controller does it; is one running?",
            **facts,
        )
    return good("routes", f"route {newest} is in force" if newest else "no route was published yet", **facts)


def workers(case: Case) -> Check:
    """The workers that answer: all there, with signs of life, on the newest route, and taking everything into the log."""
    from andon.surface.running import running

    project = case.project
    if project is None:
        return unknown("workers", "the charter or the workspace cannot be opened")
    route = project.workspace.routes.current()
    found = running(project, case.known, route)
    n, epoch = len(found.workers), 0 if route is None else route.epoch
    facts = {"workers": n, "wanted": found.wanted, "epoch": epoch, "log_failures": found.log_failures}
    see = "see run/*.log in the workspace"
    if not n:
        if found.state == "stop":
            return stop("workers", found.sentence, found.next, **facts)
        return good("workers", "the line is not running", **facts)
    if faults := [fault for worker in found.workers for fault in worker.faults]:
        return stop("workers", f"a worker says: {faults[0]}", see, **facts)
    silent = max(worker.silent for worker in found.workers)
    if silent > _SILENT:
        return stop("workers", f"a worker gave no sign of life for {silent:.0f} s", see, **facts)
    if late := [worker.worker for worker in found.workers if worker.epoch < epoch]:
        return look("workers", f"{', '.join(late)} not yet on route {epoch}", see, **facts)
    if n < found.wanted:
        return look("workers", f"only {n} of {found.wanted} workers answer", see, **facts)
    if found.log_failures:
        return look(
            "workers", f"{count(found.log_failures, 'frame')} the log could not take", "is the disk full?", **facts
        )
    return good("workers", f"{count(n, 'worker')} on route {epoch}, each seen within {max(silent, 1):.0f} s", **facts)


def controller(case: Case) -> Check:
    """Whether one leads: without, answers go on, but nothing is measured, asked or shipped."""
    from andon.deploy.crew import alive
    from andon.monitor.controller import LEASE
    from andon.monitor.holder import is_dead
    from andon.monitor.report import report

    if case.workspace is None:
        return unknown("controller", _NOT_OPEN)
    workspace = case.workspace
    held = case.known.ask(lambda: (workspace.leases.holder(LEASE), workspace.leases.seen(LEASE)))
    if held is None:
        return unknown("controller", case.known.why)
    holder, seen = held
    answers = bool(alive(workspace.routes.acks()))
    silent = None if seen is None else max(0.0, (workspace.clock.wall() - seen) / 1e6)
    facts = {"leads": holder is not None, "silent_seconds": silent}
    if holder is not None and not is_dead(holder):
        left, see = report(workspace.run_dir), "run/controller.log in the workspace says more"
        mine = left if left is not None and left.holder == holder else None
        idle = (workspace.clock.wall() - mine.acted_us) / 1e6 if mine is not None and mine.acted_us else 0.0
        if idle > _ACTS:
            return look("controller", f"one leads, but has not acted for {idle:.0f} s", see, **facts)
        if mine is not None and mine.troubles:
            return look(
                "controller", f"one leads, but {'; '.join(one.sentence for one in mine.troubles)}", see, **facts
            )
        return good("controller", f"one leads; it gave a sign of life {silent or 0:.0f} s ago", **facts)
    if not answers:
        return good("controller", "none leads, and none is needed while the line does not run", **facts)
    for_ = "" if silent is None else f" for {silent:.0f} s"
    words = f"no controller leads{for_}: answers go on, but nothing is measured, asked of people or shipped"
    made = look if silent is not None and silent < _GONE else stop
    return made("controller", words, "`andon up` keeps one; see run/controller.log in the workspace", **facts)
