"""The automatic rollout on the board: begun, shown with its evidence, frozen, and let go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.board.deploying import CHARTER, Yard, refused

from andon.errors import UsageError
from andon.monitor.steer import Steer
from andon.surface.view.deploy_auto import Begun

RULES = CHARTER.replace(
    "rollout: {start_share: 0.05}",
    "metrics: {nulls: {of: null_outputs, goal: '<= 0.1'}, worth: {of: macro_f1, goal: '>= 0.5'}}\n"
    "rollout: {start_share: 0.05, path: [canary, live], guardrails: [nulls, worth]}",
)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard", RULES)
    yield made
    made.close()


def act(yard: Yard, name: str, **given: str) -> Begun:
    """Run a command about the automatic rollout."""
    command = yard.command(name)
    done = command.run(yard.visit(), msgspec.convert(given, command.params))
    assert isinstance(done, Begun)
    return done


def test_it_is_begun_shown_frozen_and_let_go_on(yard: Yard) -> None:
    assert isinstance(refused(lambda: yard.ask("deploy.auto", version="v2")), UsageError), "nobody is live"
    yard.line.switch("v1", actor="olga")
    yard.line.automate("full", actor="olga")
    assert yard.look("deploy").rollout is None
    asked = yard.ask("deploy.auto", version="v2")
    assert "canary" in asked.then and any("nulls" in fact for fact in asked.facts)
    begun = act(yard, "deploy.auto", version="v2", reason="fewer misses")
    assert begun.rollout == "v2#1"
    Steer(yard.workspace, yard.project.charter, seconds=0.0).turn()
    view = yard.look("deploy").rollout
    assert (view.state, view.share, view.live, [rail.name for rail in view.rails]) == ("canary", 0.05, "v1", ["nulls"])
    assert view.missing and view.eta_us is None and "worth" in view.shown
    page = yard.person("vera", "viewer").page("/deploy")
    assert "Rollout v2#1" in page and "worth is not judged" in page and "of its threshold" in page
    assert "/act/deploy/freeze" not in page
    assert b'"v2#1"' in msgspec.json.encode(yard.look("deploy"))
    act(yard, "deploy.freeze", reason="a doubt")
    Steer(yard.workspace, yard.project.charter, seconds=0.0).turn()
    frozen = yard.look("deploy").rollout
    assert (frozen.word, frozen.may_freeze, frozen.may_resume) == ("frozen (person)", False, True)
    act(yard, "deploy.go-on")
    Steer(yard.workspace, yard.project.charter, seconds=0.0).turn()
    assert yard.look("deploy").rollout.state in ("canary", "hold")
    assert isinstance(refused(lambda: act(yard, "deploy.go-on")), UsageError)


def test_a_release_can_be_rolled_out_from_its_row(yard: Yard) -> None:
    yard.line.switch("v1", actor="olga")
    page = yard.person("otto", "owner").page("/deploy")
    assert "/act/deploy/auto?version=v2" in page and "/act/deploy/auto?version=v1" not in page


def test_with_the_database_gone_the_page_is_there_without_it(yard: Yard) -> None:
    yard.line.switch("v1", actor="olga")
    act(yard, "deploy.auto", version="v2")
    with yard.gone():
        view = yard.look("deploy")
    assert view.rollout is None and view.trouble
