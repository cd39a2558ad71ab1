"""What judges a release in the shadow of an automatic rollout: outcomes, or people, who are raters and no outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from tests.monitor.rollout_rig import HEAD, Rolling

from andon.core.record import Review
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.scope.charter import parse


@pytest.mark.parametrize("truth", ["external", "human"])
def test_people_judge_a_shadow_only_where_they_are_the_measure(
    tmp_path: Path, truth: Literal["external", "human"]
) -> None:
    head = HEAD.replace("delay: %s", f"delay: %s, truth: {truth}")
    line = Rolling(tmp_path, parse(head % ("0s", "shadow, canary, live", "errors, wrong", "")))
    line.bad |= {"v1": 0.0, "v2": 0.3}
    line.begin()
    line.look()
    line.come(200, label=False)
    kinds: tuple[tuple[str, bool], ...] = (("audit", False), ("second", False), ("decision", True))
    for number in range(1, 101):
        kind, saw = kinds[number % 3]
        line.workspace.outbox.append(
            [Review(f"u{number}", "negative", "person", "ann", line.clock.now(), kind=kind, saw_suggestion=saw)]  # type: ignore[arg-type]
        )
    seen = Proof(line.workspace, line.charter).look(line.now, standing(line.workspace, line.now)).shadow
    assert seen is not None and seen.cases == 200 and seen.rails[0].name == "no answer"
    if truth == "external":
        assert (seen.rails[1].name, seen.rails[1].events) == ("a wrong answer", 0)
    else:
        # Of the blind ones: not of second looks, which are at cases that have a first answer, nor after a suggestion.
        assert seen.rails[1].name == "another answer than a person's"
        assert 0 < seen.rails[1].events == seen.rails[1].harm.candidate <= 33
    line.close()


def test_what_labels_tell_of_a_shadow_is_known_since_they_came(tmp_path: Path) -> None:
    line = Rolling(tmp_path, parse(HEAD % ("1d", "shadow, canary, live", "errors, wrong", "")))
    line.wrong = dict.fromkeys(line.wrong, 0.0)
    line.begin()
    line.look()
    for mine in (1.0, 0.0):
        line.bad |= {"v1": 1.0 - mine, "v2": mine}
        line.come(20, label=False)
    first, line.unlabelled = line.unlabelled[:20], line.unlabelled[20:]
    line.label()
    line.clock.advance(60)
    line.unlabelled = first
    line.label()
    seen = Proof(line.workspace, line.charter).look(line.now, standing(line.workspace, line.now)).shadow
    assert seen is not None and seen.rails[1].steps == ((0.5, 20, 20),)
    assert seen.rails[0].harm.peak > 9 and seen.rails[1].harm.peak < 1, "nobody ever saw the candidate alone go wrong"
    line.close()
