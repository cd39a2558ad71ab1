"""The traffic of the log, to rehearse rollouts on: its units with all they did, and which of it were events.

Where people look at a sample of the automatic answers, the units are those that were drawn, as in a rollout's evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from andon.core.clock import HOUR
from andon.deploy.rehearsal_traffic import Past, Sample
from andon.deploy.rollout_plan import guarded
from andon.errors import NotFound, UsageError
from andon.measure.event import Event
from andon.measure.figure import Figure
from andon.monitor.cases import counted, measurable
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["judged_events", "past_traffic", "unplayed"]

_MEAN = "a mean, judged by its margin: how the answers of a worse candidate would spread is not known"


def judged_events(charter: Charter, name: str | None = None) -> dict[str, Event]:
    """The guardrails that count events, or the one named. Raises ``NotFound``, ``UsageError``."""
    every = guarded(charter)
    if name is not None and name not in every:
        known = ", ".join(every) or "none"
        raise NotFound(f"--guardrail: the charter's rollout has no guardrail {name!r}; it has {known}")
    wanted = {one: look for one, look in every.items() if name in (None, one)}
    found = {one: look for one, look in wanted.items() if isinstance(look, Event)}
    if not found:
        told = (f"{one} is {_MEAN}" if isinstance(look, Figure) else str(look) for one, look in wanted.items())
        why = "; ".join(told)
        raise UsageError(f"no guardrail of the charter counts events, so none can be played{f': {why}' if why else ''}")
    return found


def unplayed(charter: Charter) -> dict[str, str]:
    """The guardrails that a rollout is judged on and that cannot be played, each with why."""
    return {name: _MEAN for name, look in guarded(charter).items() if isinstance(look, Figure)}


def past_traffic(workspace: Workspace, charter: Charter, back_us: int, name: str | None = None) -> dict[str, Past]:
    """The last ``back_us`` of the log for each guardrail: its first case to its last; a candidate's are left out.

    Raises ``NotEnoughEvidence`` for the first guardrail with too few units or events; ``Unavailable``, ``Corrupt``.
    """
    events = judged_events(charter, name)
    seen = Seen(workspace, workspace.clock.now() - back_us, None)
    table = measurable(seen, events, charter, pl.col("arm") != "candidate").collect()
    # How many answers a unit has is asked of the candidate; here it is the live version's.
    table = table.with_columns(mine=pl.lit(True))
    first = int(table["time_us"].min() or 0)  # type: ignore[arg-type]
    span = (int(table["time_us"].max() or 0) - first) / HOUR  # type: ignore[arg-type]
    came = table.height, table["key"].n_unique()
    found = {}
    for one in events:
        rows, cases = counted(table, one, "bad", {})
        times = [(rows[column].cast(pl.Int64) - first).to_numpy() / HOUR for column in ("time_us", "known_us")]
        at, known = times[0], np.maximum(*times)
        sample = None if cases is None else Sample(_stands(rows), cases)
        found[one] = Past(rows["key"].to_numpy(), at, known, rows["bad"].to_numpy(), span, came, sample)
    return found


def _stands(rows: pl.DataFrame) -> float:
    """For how many units with an event one that was looked at stands: 1 over the chance that it had."""
    first = rows.filter("bad").sort("known_us", "stream", "sequence").unique("key", keep="first")
    found = first.select((1 / pl.col("chance")).mean()).item()
    return float(found or 1.0)
