"""A model beside people whose answers are no outcomes: raters who err, as far as double review can tell how often.

How often one person errs follows from how often two differ who did not see each other's answer; each person's own part is
weighed by how many of the compared cases they answered. What the model differs more or less than that is its own. The
verdict needs neither error rate: were the model one more of these people, it would stand alone as often as each of them
(`andon.measure.discordant.Trio`). Nothing here says what one person's error is: that is theirs and the owner's.

>>> both = {"model": "a", "other": "a", "by": "ann", "said": "a", "second_by": "bob"}
>>> rows = [{**both, "second": "a"}] * 900 + [{**both, "second": "b"}] * 100
>>> found = rate(pl.DataFrame(rows), version="v1", classes=("a", "b"))
>>> found.doubles, found.alone_model, found.alone_person, found.said
(1000, 0, 100, 'safe')
>>> print(found.people_error, found.model_error)
0.0528 (0.0433 to 0.0642, n 1000) 0 (0 to 0.0123, n 1000)
>>> print(found.verdict)
v1 is safe beside the people: of 1000 cases that two people answered blindly v1 stood alone in 0, one of the two in 100
(margin 1.5, at any look)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from andon.measure.discordant import Trio, doubles_needed, error_gap, model_error, rater_error
from andon.measure.estimate import CONFIDENCE, Estimate, normal_quantile, undefined, wilson
from andon.measure.guardrail import Said
from andon.people.agreement import Double, TeamDoubles, of_team

__all__ = ["COLUMNS", "Raters", "of_doubles", "rate"]

#: What a case carries that was looked at twice; null where nobody did.
COLUMNS = ("by", "said", "second_by", "second", "adjudicated")
#: From so many doubles on a person's own error counts, and not that of all.
_OWN = 30
#: Raters who err in this part of what chance would give, or more, are not told from chance.
_CHANCE = 0.9
_DRAWS = 60
_TURNS = 40

Floats = npt.NDArray[np.float64]


class Raters(msgspec.Struct, frozen=True):
    """What double review says of a model beside people. Without doubles nothing is defined, and ``verdict`` says what it takes.

    ``doubles`` cases were answered blindly by two people, and by the model. ``people_error`` is how often one person errs,
    weighed by who answered the cases, ``model_error`` how often the model does, and ``difference`` the first less the
    second, above 0 where the model is better: as if errors were independent of each other.

    ``alone_model`` counts doubles where the model differs from two people who agree, ``alone_person`` those where it agrees
    with one of two who differ. ``said`` is the verdict that holds at any look, None without doubles; ``odds`` how often the
    model stands alone for each time that one person does. ``needed`` is about how many doubles there are at a verdict,
    None where there is one, or no number would do.

    ``settled`` doubles have an answer that two agree on or a third person adjudicated, which is wrong in about
    ``reference_error``. ``settled_error`` is the model's error by it, that taken out: another way to the same number. (A
    person's own answer is part of it, so it says nothing of theirs.)
    """

    doubles: int
    people_error: Estimate
    model_error: Estimate
    difference: Estimate
    alone_model: int
    alone_person: int
    said: Said | None
    odds: Estimate
    needed: int | None
    settled: int
    reference_error: Estimate
    settled_error: Estimate
    verdict: str


def rate(rows: pl.DataFrame, *, version: str, classes: Sequence[str] = (), margin: float = 1.5) -> Raters:
    """Judge the column ``model`` beside ``other``, people's blind answers, with those of `COLUMNS` that there are.

    ``classes`` are the answers that can be right or wrong; if none are given, all that occur. Only cases that a person
    answered with one of them count; a model that gave no answer (null) differs. ``margin`` is the ratio of standing alone
    from which on the model is not safe.
    """
    known = tuple(classes) or _answers(rows)
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in COLUMNS if name not in rows.columns)
    single = rows.filter(pl.col("other").is_in(known))
    twice = rows.filter(pl.col("said").is_in(known) & pl.col("second").is_in(known))
    pairs = [_double(row) for row in twice.iter_rows(named=True)]
    team, kinds = of_team(pairs, known), max(2, len(known))
    differs = wilson(int(single["model"].ne_missing(single["other"]).sum()), len(single)) if len(single) else None
    seen = undefined("no case has both answers yet") if differs is None else differs
    people = _weighted(pairs, team, Counter(single["by"].drop_nulls().to_list()), len(single), kinds)
    alone = Trio.begin(margin).add(*_alone(pairs))
    settled, wrong = _settled(pairs)
    model = model_error(seen, people, kinds)
    needed = None if alone.verdict() != "not_yet" else _needed(seen, people, model, alone, kinds)
    return Raters(
        doubles=len(pairs),
        people_error=people,
        model_error=model,
        difference=error_gap(seen, people, kinds),
        alone_model=alone.rail.harm.candidate,
        alone_person=alone.rail.harm.live,
        said=alone.verdict() if people.defined else None,
        odds=alone.rail.ratio() if pairs else undefined("no case was decided twice"),
        needed=needed,
        settled=settled,
        reference_error=team.reference_error,
        settled_error=model_error(wrong, team.reference_error, kinds),
        verdict=_verdict(version, alone, people, needed),
    )


def of_doubles(doubles: pl.DataFrame) -> pl.DataFrame:
    """What `rate` takes, from a frame of ``andon.store.doubles``: the line's own model beside those who saw no suggestion."""
    blind = doubles.filter(~pl.col("saw_suggestion"), ~pl.col("second_saw"), pl.col("model").is_not_null())
    return blind.select(
        "model", "said", "adjudicated", other="said", by="first", second_by="second", second="second_said"
    )


def _answers(rows: pl.DataFrame) -> tuple[str, ...]:
    given = [rows[name].drop_nulls() for name in ("other", "said", "second") if name in rows.columns]
    return tuple(sorted({answer for column in given for answer in column.cast(pl.String).to_list()}))


def _double(row: dict[str, str | None]) -> Double:
    """Two answers of one case; which of several reviews they come from was decided where they were read."""
    return Double(
        id="",
        first=row["by"] or "",
        said=row["said"] or "",
        blind=True,
        second=row["second_by"] or "",
        second_said=row["second"] or "",
        second_blind=True,
        adjudicated=row["adjudicated"],
        model=row["model"],
    )


def _alone(pairs: Sequence[Double]) -> tuple[int, int, int, int]:
    """(the model alone, one of the two alone, all the same, all apart)."""
    model = person = same = 0
    for pair in pairs:
        if pair.same:
            same += pair.model == pair.said
            model += pair.model != pair.said
        else:
            person += pair.model in (pair.said, pair.second_said)
    return model, person, same, len(pairs) - model - person - same


def _weighted(pairs: Sequence[Double], team: TeamDoubles, answered: Counter[str], n: int, classes: int) -> Estimate:
    """How often the one errs who answered a compared case: each person's own error, by their share of the cases.

    Who was looked at twice in few cases counts as all do together. What is added to the interval of all is how much the
    weighed error and theirs vary against each other where the doubles are drawn again.
    """
    error = team.rater_error
    if error.value is None or error.low is None or error.high is None or not n:
        return error
    spare = classes / (classes - 1)
    twice = Counter(name for pair in pairs for name in (pair.first, pair.second))
    names = [name for name, times in twice.items() if name and times >= _OWN]
    if not names or error.value * spare >= _CHANCE:
        return error
    place = {name: at for at, name in enumerate(names)}
    kinds = np.zeros((2, len(names) + 1, len(names) + 1))
    for pair in pairs:
        kinds[int(not pair.same), place.get(pair.first, -1), place.get(pair.second, -1)] += 1
    again = np.random.default_rng(0).multinomial(len(pairs), kinds.ravel() / len(pairs), _DRAWS)
    drawn = np.concatenate([kinds[None], again.reshape(_DRAWS, *kinds.shape)])
    excess = _excess(drawn, np.array([answered[name] / n for name in names]), spare)
    value = min(max(error.value + float(excess[0]), 0.0), 1.0)
    half = normal_quantile(CONFIDENCE) * float(excess[1:].std())
    low = value - math.hypot(error.value - error.low, half)
    high = value + math.hypot(error.high - error.value, half)
    return Estimate(value, max(0.0, low), min(1.0, high), len(pairs), "double review")


def _excess(drawn: Floats, share: Floats, spare: float) -> Floats:
    """By how much the weighed error is above that of all, for each of the draws.

    ``drawn`` has shape (draws, 2, people + 1, people + 1): doubles that agree and that differ, by who answered first and
    second; in the last place are all others. Of two who err in shares e and f, e + f - e f K/(K-1) differ. So each
    one's error follows from those of the people they were paired with, and is found by turns.
    """
    both = drawn + drawn.swapaxes(2, 3)
    met, apart = both.sum(axis=1), both[:, 1].sum(axis=2)
    times = np.maximum(met.sum(axis=2), 1.0)
    seen, differ = apart / times, drawn[:, 1].sum(axis=(1, 2)) / drawn[0].sum()
    overall = ((1 - np.sqrt(np.maximum(0.0, 1 - differ * spare))) / spare)[:, None]
    errs = np.repeat(overall, met.shape[1], axis=1)
    for _ in range(_TURNS):
        others = np.minimum((met @ errs[:, :, None])[:, :, 0] / times, _CHANCE / spare)
        own = np.clip((seen - others) / (1 - others * spare), 0.0, 1.0)
        errs[:, :-1] = (errs[:, :-1] + own[:, :-1]) / 2
    found: Floats = (errs[:, :-1] - overall) @ share
    return found


def _settled(pairs: Sequence[Double]) -> tuple[int, Estimate]:
    """How many have an answer by people, and in what share of all the model differs from it.

    Where some of those that differ wait for a third person, the others stand for them.
    """
    same = [pair for pair in pairs if pair.same]
    judged = [pair for pair in pairs if not pair.same and pair.adjudicated is not None]
    settled = len(same) + len(judged)
    if not settled or (len(pairs) > len(same) and not judged):
        return settled, undefined(
            "no case that two answered differently was adjudicated" if pairs else "no case was decided twice"
        )
    wrong = sum(pair.model != pair.said for pair in same) / len(pairs)
    if judged:
        share = sum(pair.model != pair.adjudicated for pair in judged) / len(judged)
        wrong += share * (len(pairs) - len(same)) / len(pairs)
    return settled, wilson(wrong * settled, settled)


def _needed(seen: Estimate, people: Estimate, model: Estimate, alone: Trio, classes: int) -> int | None:
    """About how many doubles; before the first as if the model erred as people do."""
    if not alone.n and seen.value is not None:
        people = model = rater_error(round(seen.value * seen.n), seen.n, classes)
    if people.value is None or model.value is None:
        return None
    margin = alone.rail.margin
    # Where two have never differed yet they may still err as often as the interval allows.
    rater = people.value or (people.high or 0.0)
    found = doubles_needed(model.value, rater, margin, classes=classes)
    return None if found is None else max(found, alone.n + 1)


def _verdict(version: str, alone: Trio, people: Estimate, needed: int | None) -> str:
    more = "" if needed is None else f"; about {needed:,} such cases would tell"
    if not alone.n:
        return f"how often people err is not known: no case was answered blindly by two of them{more}"
    if not people.defined:
        return f"whether {version} is safe beside the people cannot be told: {people.reason}"
    said = {
        "harm": f"{version} errs more than the people",
        "safe": f"{version} is safe beside the people",
        "not_yet": f"whether {version} is safe beside the people is not known yet",
    }[alone.verdict()]
    counts = f"{version} stood alone in {alone.rail.harm.candidate}, one of the two in {alone.rail.harm.live}"
    margin = f"(margin {alone.rail.margin:g}, at any look)"
    return f"{said}: of {alone.n} cases that two people answered blindly {counts} {margin}{more}"
