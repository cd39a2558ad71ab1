"""The rollout's page: its share and states, the race of its evidence, every transition; the same as JSON and in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from tests.board.deploying import CHARTER, Yard
from tests.board.reviewing import BEGIN, Person, Room
from tests.board.rolled import NAMES, RULES
from tests.board.workshop import copy_of
from tests.line.database import moved_away
from tests.monitor.rollout_rig import Rolling
from typer.testing import CliRunner

from andon.errors import NotFound
from andon.people.access import Access
from andon.scope.charter import parse
from andon.store.tokens import TokenFile
from andon.surface.cli import deploy
from andon.surface.view.deploy_race import PAGE, Params, RaceView, race_view
from andon.surface.visit import Viewer, Visit


@pytest.fixture(scope="module")
def room(rolled_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    made = Room(copy_of(rolled_project, tmp_path_factory.mktemp("room") / "line"), RULES)
    made.clock.advance((made._kept.now() - BEGIN) / 1_000_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def owner(room: Room) -> Person:
    return room.person("otto", "owner")


def look(room: Room, **given: Any) -> RaceView:
    visit = Visit(room.project, Viewer("otto", "owner"), Access(TokenFile(room.workspace.home)))
    return race_view(visit, msgspec.convert(given, Params))


def test_the_newest_is_shown_and_each_can_be_chosen(room: Room, owner: Person) -> None:
    view = look(room)
    assert [(one.name, one.shown, one.ended) for one in view.rollouts] == [
        ("v2#3", True, False), ("v3#2", False, True), ("v2#1", False, True),
    ]  # fmt: skip
    assert view.found is not None and view.found.name == "v2#3" and view.word == "hold (by a person)"
    page = owner.page("/deploy/rollout")
    assert "Rollout v2#3" in page and all(f"/deploy/rollout?name={name.replace('#', '%23')}" in page for name in NAMES)
    past = owner.page("/deploy/rollout?name=v3%232")
    assert "Rollout v3#2" in past and "settled" in past and "Freeze it" not in past and "Freeze it" in page
    with pytest.raises(NotFound, match=r"there was no automatic rollout 'v3#9'; did you mean 'v3#2'"):
        look(room, name="v3#9")
    assert owner.page("/deploy/rollout?name=v9", status=404)


def test_harm_that_was_proven_and_safe_that_was(room: Room, owner: Person) -> None:
    bad, good = look(room, name="v2#1"), look(room, name="v3#2")
    assert bad.course is not None and good.course is not None and good.found is not None
    races = {one.name: one for one in bad.course.races}
    assert races["errors"].said == "harm" and races["errors"].proven_us is not None
    assert [one.said for one in good.course.races] == ["safe", "safe"]
    assert good.course.weights[-1].share == 1.0 and {one.state for one in good.course.bands} >= {
        "canary",
        "bake",
        "settled",
    }
    assert ("ann", "ramp") in [(one.by, one.what) for one in good.course.acts]
    page = owner.page("/deploy/rollout?name=v2%231")
    assert "harm is proven here, at 40" in page and "safe is proven here, at 20" in page
    assert 'class="proven alarm"' in page and "ann: begin" in page
    assert 'class="proven ok"' in owner.page("/deploy/rollout?name=v3%232")


def test_what_is_missing_what_it_may_cost_and_why_it_holds(room: Room, owner: Person) -> None:
    view, page = look(room), owner.page("/deploy/rollout")
    assert view.found is not None and view.found.missing and view.found.eta_us is not None
    assert view.since_us <= view.found.began_us < view.until_us
    assert "held by olga" in page and "Missing for the next step" in page and "Not before" in page
    assert "Harm budget: " in page and "20 units or more</strong> may be spent" in page
    assert "as promised" in page and "shown, not decided on" in page


def test_every_transition_leads_to_its_event(room: Room, owner: Person) -> None:
    view = look(room, name="v3#2")
    assert view.course is not None
    page = owner.page("/deploy/rollout?name=v3%232")
    first = view.course.steps[-1]
    assert f"/journal?subject=v3%232&amp;before={first.sequence + 1}#event-{first.sequence}" in page
    assert f'id="event-{first.sequence}"' in owner.page(f"/journal?subject=v3%232&before={first.sequence + 1}")
    assert "ann (ramp: it looks calm &lt;b&gt;)" in page
    assert "/deploy/rollout?name=v3%232" in owner.page("/journal?subject=v3%232")


def test_over_units_the_same_evidence_is_drawn(room: Room, owner: Person) -> None:
    page = owner.page("/deploy/rollout?name=v3%232&by=units")
    assert "over units" in page and " units</text>" in page and "name=v2%231&amp;by=units" in page
    assert owner.page("/deploy/rollout?by=age", status=400)


def test_the_json_twin_and_the_command_say_the_same(room: Room, owner: Person) -> None:
    app = typer.Typer()
    deploy.register(app)
    for name in NAMES[:2]:
        twin = owner.twin(f"/deploy/rollout?name={name.replace('#', '%23')}")
        ran = CliRunner().invoke(app, ["deploy", "explain", name, "--json", "--project", str(room.project.root)])
        told = json.loads(ran.output)
        assert told.pop("course") == twin["course"] and told == twin["found"]
    words = ["deploy", "explain", "v3#2", "--project", str(room.project.root)]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"}).output
    assert "by requests" in shown and "every guardrail is shown to be safe: v3 gets 95 % of the units" in shown
    wrong = CliRunner().invoke(app, ["deploy", "explain", "v3#9", "--project", str(room.project.root)])
    assert isinstance(wrong.exception, NotFound) and "did you mean 'v3#2'" in str(wrong.exception)


def test_before_the_first_one_it_says_what_to_do(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "yard", CHARTER)
    view = yard.look("deploy.rollout")
    assert (view.found, view.course, view.rollouts, view.trouble) == (None, None, (), "")
    page = yard.person("vera", "viewer").page("/deploy/rollout")
    assert "No release was rolled out by evidence yet" in page and "andon deploy canary VERSION --auto" in page
    yard.close()


@pytest.mark.parametrize(("live", "said"), [("v1", "difference of means"), ("", "by itself")])
def test_means_and_a_first_release_are_told_as_what_they_are(tmp_path: Path, live: str, said: str) -> None:
    rules = RULES.replace("[errors, wrong]", "[errors, worth]")
    root = tmp_path / "line"
    root.mkdir()
    line = Rolling(root / ".andon", parse(rules), live=live)
    line.begin("v2")
    line.look()
    line.come(60)
    line.look()
    line.close()
    room = Room(root, rules)
    page = room.person("otto", "owner").page("/deploy/rollout")
    assert f"<dt>{said}</dt>" in page and f"against {live or 'people'}</h1>" in " ".join(
        page.replace("</small>", "").split()
    )
    assert ("ratio by units" in page) == bool(live) and f"against {live or 'people'}," in room.person(
        "vera", "viewer"
    ).page("/deploy")
    room.close()


def test_with_the_database_gone_it_says_so_and_what_is_open(room: Room, owner: Person) -> None:
    room.workspace.db.close()
    with moved_away(room.workspace.home):
        view = look(room)
        page = owner.page("/deploy/rollout")
    assert view.found is None and view.trouble and "andon deploy rollback" in page
    assert look(room).found is not None


def test_a_viewer_has_no_buttons(room: Room) -> None:
    page = room.person("vera", "viewer").page("/deploy/rollout")
    assert "/act/deploy/" not in page.replace("/act/deploy/rollout", "") and PAGE.live == (
        "route",
        "journal",
        "windows",
    )
