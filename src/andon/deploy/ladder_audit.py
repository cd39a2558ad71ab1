"""What the judged answers of a slice say of the promise, and who errs less of people and model.

What a stretch counts (``Stretch.within``) are the answers whose truth became known in its window, whenever they were given. Of
several versions those count that answer now: a candidate that was rolled back promises nothing any more, and breaks
nothing. Whether *all* answers keep the promise is asked of the live version alone.

>>> one = Stretch("full", time_us=100).within(now=450, window_us=100)         # what is known since 300
>>> rows = pl.DataFrame({"version": ["v1", "v1", "v1", "v2"], "automatic": [True] * 4, "known_us": [290, 310, None, 320]})
>>> drawn(rows, one, ["v1"])["known_us"].to_list()                             # the one that nobody judged was drawn, too
[310, None]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from andon.core.record import Route
from andon.deploy.ladder_stretch import Stretch
from andon.deploy.raters import rate
from andon.measure.audit import Audited, all_answers, audited
from andon.measure.estimate import Estimate, wilson
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.deploy.ladder import Rules
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["all_of", "answering", "audit_of", "drawn", "sides", "waiting"]


def answering(route: Route) -> list[str]:
    """The versions that answer under a route: the live one and a candidate.

    >>> answering(Route(2, 10, 0, "ann", "canary", "", live="v1", candidate="v2", share=0.1))
    ['v1', 'v2']
    """
    return [one for one in (route.live, route.candidate) if one is not None]


def drawn(rows: pl.DataFrame, one: Stretch, versions: Collection[str]) -> pl.DataFrame:
    """The automatic answers of these versions that were drawn and not judged before the window, judged ones first.

    ``rows`` are those of ``andon.deploy.ladder_rows.Answers``: in the order in which their truth became known.
    """
    now = pl.col("known_us").is_null() | (pl.col("known_us") >= one.since_us)
    return rows.filter(now, pl.col("automatic"), pl.col("version").is_in(list(versions)))


def audit_of(drawn: pl.DataFrame, rules: Rules) -> Audited:
    """What those of them say whose truth is known."""
    told = drawn.filter(pl.col("truth").is_not_null())
    wrong = (told["model"] != told["truth"]).to_numpy()
    return audited(wrong, told["chance"].to_numpy(), rules.max_error, alpha=rules.delta)


def all_of(rows: pl.DataFrame, one: Stretch, version: str | None, shares: Mapping[int, float], rules: Rules) -> Audited:
    """All answers of the live version, those that went to people too, in the order of the decisions.

    ``shares`` are the parts of the automatic answers that are audited, by the epoch of the route.
    """
    mine = rows.filter(pl.col("version").eq_missing(pl.lit(version)), pl.col("time_us") >= one.all_us)
    asked = mine.sort("time_us", "id")
    share = asked["epoch"].replace_strict(dict(shares), default=0.0, return_dtype=pl.Float64).to_numpy()
    known, chance = asked["truth"].is_not_null().to_numpy(), asked["chance"].to_numpy()
    wrong = (asked["model"] != asked["truth"]).fill_null(True).to_numpy()
    least = np.minimum(share, chance)
    return all_answers(wrong, known, chance, least, rules.max_error, alpha=rules.delta)


def waiting(drawn: pl.DataFrame, before_us: int) -> int:
    """How many of them were given before then and nobody judged."""
    return drawn.filter(pl.col("truth").is_null(), pl.col("time_us") < before_us).height


def sides(workspace: Workspace, charter: Charter, version: str, since_us: int) -> dict[str, tuple[Estimate, Estimate]]:
    """How often people err and how often this version does, on the same cases since then, by slice."""
    if charter.target.truth == "human":
        return _doubled(workspace, charter, version, since_us)
    seen = Seen(workspace, since_us, None)
    blind = (pl.col("decided_by") == "person") & ~pl.col("saw_suggestion") & pl.col("suggestion").is_not_null()
    rows = seen.final().filter(blind, pl.col("version") == version).join(seen.labels(), on="id", how="inner")
    wrong = [(pl.col(name) != pl.col("label")).sum().alias(name) for name in ("decision", "suggestion")]
    counted = rows.group_by("slice").agg(*wrong, n=pl.len()).collect()
    return {
        str(slice): (wilson(people, n), wilson(model, n))
        for slice, people, model, n in counted.select("slice", "decision", "suggestion", "n").iter_rows()
    }


def _doubled(
    workspace: Workspace, charter: Charter, version: str, since_us: int
) -> dict[str, tuple[Estimate, Estimate]]:
    from andon.store.doubles import doubles

    pairs = doubles(workspace, since_us).filter(~pl.col("saw_suggestion"), ~pl.col("second_saw"))
    pairs = pairs.filter(pl.col("model").is_not_null())
    if not pairs.height:
        return {}
    wanted = pairs.lazy().select("id")
    asked = Seen(workspace, None, None).raw().filter(pl.col("version") == version).select("id", "slice")
    named = asked.join(wanted, on="id", how="semi").unique("id")
    pairs = pairs.join(named.collect(), on="id", how="inner")
    pairs = pairs.with_columns(other="said", by="first", second="second_said", second_by="second")
    found = {}
    for (slice,), part in pairs.partition_by("slice", as_dict=True).items():
        judged = rate(part, version="the model", classes=charter.target.classes)
        found[str(slice)] = judged.people_error, judged.model_error
    return found
