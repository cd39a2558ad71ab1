"""A project with rollouts behind it: one that was taken back, one that settled, and one that a person holds now."""

from __future__ import annotations

from pathlib import Path

from tests.monitor.rollout_rig import HEAD, Rolling

from andon.scope.charter import parse

__all__ = ["NAMES", "RULES", "make_rolled"]

RULES = HEAD % ("0s", "canary, live", "errors, wrong", "") + "checklist: {security: {tokens: required}}\n"
NAMES = ("v2#1", "v3#2", "v2#3")


def make_rolled(root: Path) -> Path:
    """Its workspace's clock stands where the last rollout is."""
    root.mkdir(parents=True)
    (root / "andon.yaml").write_text(RULES)
    line = Rolling(root / ".andon", parse(RULES), seed=5)
    # Much goes wrong on both sides: so little traffic is enough evidence.
    line.bad, line.wrong = {"v1": 0.25, "v2": 0.8, "v3": 0.2}, {"v1": 0.25, "v2": 0.25, "v3": 0.2}
    line.begin("v2")
    line.until("rolled_back", units=120)
    line.begin("v3")
    for number in range(20):
        if line.look().state == "bake":
            break
        line.come(260)
        if number == 1:
            line.line.ramp(0.3, actor="ann", reason="it looks calm <b>")
    line.until("settled", units=400, seconds=1300)
    line.bad["v2"] = 0.2
    line.begin("v2")
    for _ in range(4):
        line.look()
        line.come(150)
    line.line.hold(actor="olga", reason="a second look first")
    line.look()
    assert [one for one in line.told() if one in ("rolled_back", "settled")] == ["rolled_back", "settled"]
    line.real_clock.set(time_us=line.clock.now(), rate=0.0)
    line.close()
    return root
