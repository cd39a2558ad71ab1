"""Partial automation in simulated deployments: the promise holds, and the coverage is near that of who knows the truth."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from benchmarks.selective import DELTA, RULES, WORLDS, limit, run, share_of_oracle

BY_NAME = {world.name: world for world in WORLDS}
#: Where the safe cases err a point below the target.
GAPS = ("whole", "cliff", "coarse")


def most_broken(deployments: int) -> int:
    """So many broken promises are exceeded in 1 of 100 such runs by a rule that breaks delta of them."""
    return int(binom.ppf(0.99, deployments, DELTA))


@pytest.mark.parametrize("name", GAPS)
def test_a_point_below_the_target_five_thousand_labels_bring_nine_tenths_of_the_oracle(name: str) -> None:
    for found in run(BY_NAME[name], ["Andon", "ranks"], 5_000, 0.02, deployments=40):
        assert share_of_oracle(found) >= (0.9 if found.rule == "Andon" else 0.8) and found.broken <= most_broken(40)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(("labels", "target"), [(500, 0.02), (5_000, 0.02), (5_000, 0.05), (20_000, 0.02)])
def test_a_thousand_deployments_keep_the_promise(name: str, labels: int, target: float) -> None:
    for found in run(BY_NAME[name], ["Andon", "ranks"], labels, target, deployments=1_000, seed=2):
        assert found.broken <= DELTA * 1_000
        if name in GAPS and labels >= 5_000 and target == 0.02 and found.rule == "Andon":
            assert share_of_oracle(found) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_more_labels_bring_more_and_with_many_no_less_than_the_rules_beside(name: str) -> None:
    world = BY_NAME[name]
    shares = [run(world, ["Andon", "thirds", "SGR"], n, 0.02, deployments=300) for n in (1_000, 5_000, 20_000)]
    ours = [share_of_oracle(found[0]) for found in shares]
    assert ours == sorted(ours)
    for found in shares[1:]:
        for other in found[1:]:
            assert share_of_oracle(found[0]) >= share_of_oracle(other) - 0.02


def test_the_benchmark_tells_a_rule_that_promises_nothing() -> None:
    [found] = run(BY_NAME["above"], ["as seen"], 2_000, 0.02, deployments=60)
    assert found.broken > 20
    assert 0.6 < limit(BY_NAME["above"], 5_000, 0.02) < BY_NAME["above"].known(0.02).oracle(0.02)[1]
    assert set(RULES) == {"Andon", "ranks", "thirds", "SGR", "as seen"}
