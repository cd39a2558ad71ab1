"""A shadow beside whoever answers: the same cases, two answers, compared in pairs.

Pairs tell much more than two separate samples: only the *discordant* ones, where one side is right and the other
wrong, bear on which is better. Where no outcome is known the comparison is of **agreement**, and is called so: people
(or the old model) are raters with errors of their own, not the truth. What simulated reviewers decided is counted and
said, because it proves nothing about people.

>>> import polars as pl
>>> pairs = pl.DataFrame({
...     "model": ["a", "a", "b", "b"], "other": ["a", "b", "b", "a"], "truth": ["a", "a", "b", None],
... })
>>> found = compare(pairs, version="v2", against="people")
>>> found.n, found.agreement.value, found.discordant, found.called
(4, 0.5, 2, 'accuracy')
>>> found.only_model_right, found.only_other_right, found.model_error.value, found.other_error.n
(1, 0, 0.0, 3)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import polars as pl

from andon.deploy.raters import Raters, rate
from andon.errors import UsageError
from andon.measure.discordant import Pairs
from andon.measure.estimate import CONFIDENCE, Estimate, normal_quantile, undefined, wilson
from andon.measure.guardrail import Said

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["Against", "Comparison", "compare", "pairs_of", "second_looks", "shadow_comparison"]

Against = Literal["people", "live"]

_NO_TRUTH = "no outcome is known of these cases; only agreement can be measured"


class Comparison(msgspec.Struct, frozen=True):
    """Two answers to the same cases. ``matrix[model's answer][other's answer]`` counts cases.

    ``called`` is "accuracy" where outcomes are known and "agreement" where none is; then ``model_error``,
    ``other_error`` and ``difference`` (the other's error less the model's, above 0 where the model is better) are
    undefined. ``only_model_right`` and ``only_other_right`` count the discordant cases with an outcome. ``simulated``
    of the ``n`` other answers come from programs that play people.

    ``said`` is the verdict that holds however often one looks (``andon.measure.discordant``): harm, safe or not_yet;
    None where no outcome is known, because agreement proves nobody right. ``odds`` is how many cases only the model gets
    wrong for each that only the other does, with an interval that holds at all looks, and ``verdict`` says it in words.
    The other intervals are for one look.

    ``raters`` is what double review says beside people, whose answers are never outcomes (`andon.deploy.raters`); None
    where the other side is no person.
    """

    version: str
    against: str
    n: int
    called: Literal["accuracy", "agreement"]
    agreement: Estimate
    discordant: int
    matrix: dict[str, dict[str, int]]
    outcomes: int
    model_error: Estimate
    other_error: Estimate
    difference: Estimate
    only_model_right: int
    only_other_right: int
    simulated: int
    silent: int
    sentence: str
    said: Said | None
    odds: Estimate
    verdict: str
    raters: Raters | None = None


def compare(
    pairs: pl.DataFrame,
    *,
    version: str,
    against: str,
    confidence: float = CONFIDENCE,
    outcomes: bool = True,
    margin: float = 1.5,
    classes: Sequence[str] = (),
) -> Comparison:
    """Compare the columns ``model`` and ``other`` of the same cases, by ``truth`` where that is known.

    ``pairs`` has one row for each case: ``model``, ``other`` (text or null) and, where there are any, ``truth`` (text
    or null) and ``simulated`` (bool). Cases that the other side has not answered are left out; those where the model
    gave no answer count as disagreement and as an error (``silent``). ``outcomes`` False says that ``truth`` is a
    person's judgement: it is then not used. ``margin`` is the ratio of cases that one alone gets wrong from which on the
    model is not safe. Columns of second looks (`andon.deploy.raters.COLUMNS`) make people raters who err; ``classes`` are
    the answers that can be right or wrong. Raises ``UsageError`` when a column is missing.
    """
    rows = _prepared(pairs, outcomes)
    n, agreed, known = len(rows), int(rows["agreed"].sum()), rows.filter(pl.col("truth").is_not_null())
    both = known.select(pl.col(side).eq_missing(pl.col("truth")) for side in ("model", "other"))
    counts = _counts(both)
    agreement, simulated = _agreement(agreed, n, confidence), int(rows["simulated"].sum())
    sequential = Pairs.begin(margin).add(counts[1], counts[0], len(known) - sum(counts)) if len(known) else None
    people = rate(pairs, version=version, classes=classes, margin=margin) if "said" in pairs.columns else None
    return Comparison(
        version=version,
        against=against,
        n=n,
        called="accuracy" if len(known) else "agreement",
        agreement=agreement,
        discordant=n - agreed,
        matrix=_matrix(rows),
        outcomes=len(known),
        model_error=_error(len(known) - int(both["model"].sum()), len(known), confidence),
        other_error=_error(len(known) - int(both["other"].sum()), len(known), confidence),
        difference=_difference(*counts, len(known), confidence),
        only_model_right=counts[0],
        only_other_right=counts[1],
        simulated=simulated,
        silent=rows["model"].null_count(),
        sentence=_sentence(version, against, n, agreement, simulated),
        said=None if sequential is None else sequential.verdict(),
        odds=undefined(_NO_TRUTH) if sequential is None else sequential.rail.ratio(),
        verdict=_verdict(version, _who(against), sequential),
        raters=people,
    )


def _prepared(pairs: pl.DataFrame, outcomes: bool) -> pl.DataFrame:
    if not {"model", "other"} <= set(pairs.columns):
        raise UsageError(f"pairs: expected the columns model and other, found {', '.join(pairs.columns) or 'none'}")
    rows = pairs.filter(pl.col("other").is_not_null())
    truth = pl.col("truth") if outcomes and "truth" in pairs.columns else pl.lit(None)
    simulated = pl.col("simulated").fill_null(False) if "simulated" in pairs.columns else pl.lit(False)
    return rows.select(
        pl.col("model").cast(pl.String),
        pl.col("other").cast(pl.String),
        truth.cast(pl.String).alias("truth"),
        simulated.alias("simulated"),
        pl.col("model").cast(pl.String).eq_missing(pl.col("other").cast(pl.String)).alias("agreed"),
    )


def _counts(both: pl.DataFrame) -> tuple[int, int]:
    """(only the model right, only the other right)."""
    return (
        int((both["model"] & ~both["other"]).sum()),
        int((both["other"] & ~both["model"]).sum()),
    )


def _agreement(agreed: int, n: int, confidence: float) -> Estimate:
    return wilson(agreed, n, confidence) if n else undefined("no case has both answers yet")


def _matrix(rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    matrix: dict[str, dict[str, int]] = {}
    for model, other, count in rows.group_by("model", "other").len().sort("model", "other").iter_rows():
        matrix.setdefault("" if model is None else model, {})[other] = count
    return matrix


def _error(wrong: int, n: int, confidence: float) -> Estimate:
    return wilson(wrong, n, confidence) if n else undefined(_NO_TRUTH)


def _difference(gained: int, lost: int, n: int, confidence: float) -> Estimate:
    """The paired difference of two error rates, (gained - lost) / n, with the interval of Agresti and Min (2005).

    It adds half a case to each of the four cells and keeps its promise for few discordant pairs.
    """
    if not n:
        return undefined(_NO_TRUTH)
    total = n + 2.0
    centre = (gained - lost) / total
    spread = (gained + lost + 1.0) / total - centre * centre
    half = normal_quantile(confidence) * math.sqrt(max(spread, 0.0) / total)
    return Estimate((gained - lost) / n, max(-1.0, centre - half), min(1.0, centre + half), n, "agresti-min")


def _sentence(version: str, against: str, n: int, agreement: Estimate, simulated: int) -> str:
    who = _who(against)
    if agreement.value is None:
        return f"{version} and {who} have no case in common yet"
    said = f"{version} agrees with {who} in {agreement.value * 100:.3g} % of {n} cases"
    if simulated:
        said += f"; {simulated} of them were answered by simulated reviewers, which proves nothing about people"
    return said


def _who(against: str) -> str:
    return "the people" if against == "people" else against


def _verdict(version: str, who: str, pairs: Pairs | None) -> str:
    if pairs is None:
        return f"whether {version} or {who} is right cannot be told: {_NO_TRUTH}"
    alone = f"{pairs.rail.harm.candidate} cases that only {version} got wrong against {pairs.rail.harm.live}"
    said = {
        "harm": f"{version} errs more than {who}",
        "safe": f"{version} is safe beside {who}",
        "not_yet": f"whether {version} is safe beside {who} is not known yet",
    }[pairs.verdict()]
    return f"{said}: {alone}, of {pairs.n} with an outcome (margin {pairs.rail.margin:g}, at any look)"


def pairs_of(frame: pl.DataFrame, against: Against, doubles: pl.DataFrame | None = None) -> pl.DataFrame:
    """The pairs in a frame of ``andon.store.view.shadow_pairs``: ``model``, ``other``, ``truth``, ``simulated``.

    Against people: what a person decided without seeing a suggestion, here or elsewhere. Against the live model: what
    it answered, or would have said where a person decided. ``doubles`` (of ``andon.store.doubles``) add, against people,
    what a second person said who saw no suggestion either, and what was adjudicated. Rows keep their order.
    """
    live = pl.when(pl.col("decided_by") == "model").then("decision").otherwise("suggestion")
    simulated = pl.col("simulated").fill_null(False) if against == "people" else pl.lit(False)
    pairs = frame.select(
        model="prediction",
        other=pl.col("human") if against == "people" else pl.when(pl.col("live").is_not_null()).then(live),
        truth="label",
        simulated=simulated,
    )
    return pairs if doubles is None or against != "people" else pairs.hstack(_looked_again(frame, doubles))


def _looked_again(frame: pl.DataFrame, doubles: pl.DataFrame) -> pl.DataFrame:
    """The columns of `andon.deploy.raters.COLUMNS` of each case, as far as nobody had seen a suggestion."""
    blind = doubles.filter(~pl.col("saw_suggestion"), ~pl.col("second_saw"))
    again = blind.select("id", "said", "adjudicated", first="first", second_by="second", second="second_said")
    by = pl.when(pl.col("decided_by") == "person").then("reviewer")
    rows = frame.select("id", by=by).join(again, on="id", how="left", maintain_order="left")
    return rows.select(pl.coalesce("first", "by").alias("by"), "said", "second_by", "second", "adjudicated")


def second_looks(workspace: Workspace, frame: pl.DataFrame) -> pl.DataFrame:
    """The second looks at the cases of a frame of ``andon.store.view.shadow_pairs``. Raises ``Unavailable``."""
    from andon.store.doubles import doubles

    since = int(frame["time_us"][0]) if len(frame) else workspace.clock.now()
    return doubles(workspace, since, model=False)


def shadow_comparison(workspace: Workspace, charter: Any, version: str, against: Against = "people") -> Comparison:
    """Compare a shadow with people, or with the live model, on everything they both answered.

    Outcomes count only where the charter says that truth is external; else it is agreement, and people are raters.
    """
    from andon.store.view import shadow_pairs

    frame = shadow_pairs(workspace, version)
    pairs = pairs_of(frame, against, second_looks(workspace, frame) if against == "people" else None)
    return compare(
        pairs,
        version=version,
        against="people" if against == "people" else "the live model",
        outcomes=charter.target.truth == "external",
        margin=charter.rollout.margin,
        classes=charter.target.classes,
    )
