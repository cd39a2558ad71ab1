"""The traffic of the log, to rehearse rollouts on: its units with all they did, and which of it were events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from andon.core.clock import HOUR
from andon.deploy.rehearsal_traffic import Past
from andon.deploy.rollout_plan import guarded
from andon.errors import NotFound, UsageError
from andon.measure.event import Event
from andon.monitor.cases import measurable
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["judged_events", "past_traffic"]


def judged_events(charter: Charter, name: str | None = None) -> dict[str, Event]:
    """The guardrails that a rollout is judged on, or the one named. Raises ``NotFound``, ``UsageError``."""
    every = guarded(charter)
    if name is not None and name not in every:
        known = ", ".join(every) or "none"
        raise NotFound(f"--guardrail: the charter's rollout has no guardrail {name!r}; it has {known}")
    wanted = {one: event for one, event in every.items() if name in (None, one)}
    found = {one: event for one, event in wanted.items() if isinstance(event, Event)}
    if not found:
        why = "; ".join(str(event) for event in wanted.values())
        raise UsageError(f"no guardrail of the charter counts events{f': {why}' if why else ''}")
    return found


def past_traffic(workspace: Workspace, charter: Charter, back_us: int, name: str | None = None) -> dict[str, Past]:
    """The last ``back_us`` of the log for each guardrail: its first case to its last; a candidate's are left out.

    Raises ``NotEnoughEvidence`` for the first guardrail with too few units or events; ``Unavailable``, ``Corrupt``.
    """
    events = judged_events(charter, name)
    seen = Seen(workspace, workspace.clock.now() - back_us, None)
    table = measurable(seen, events, charter, pl.col("arm") != "candidate").collect()
    first = int(table["time_us"].min() or 0)  # type: ignore[arg-type]
    span = (int(table["time_us"].max() or 0) - first) / HOUR  # type: ignore[arg-type]
    found = {}
    for one in events:
        rows = table.filter(pl.col(f"bad:{one}").is_not_null())
        times = [(rows[column].cast(pl.Int64) - first).to_numpy() / HOUR for column in ("time_us", "known_us")]
        at, known = times[0], np.maximum(*times)
        found[one] = Past(rows["key"].to_numpy(), at, known, rows[f"bad:{one}"].to_numpy(), span, table.height)
    return found
