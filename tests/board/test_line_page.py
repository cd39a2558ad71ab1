"""The Line page: honest with nothing in it, right with a life behind it, and never more than what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.board.conftest import Workshop
from tests.board.reader import Reader
from tests.board.served import Served
from tests.board.workshop import HOSTILE

from andon.config import Project, open_project
from andon.core.clock import DAY, HOUR
from andon.core.record import Event, Route
from andon.deploy.rollout_record import Plan, Rollout, State
from andon.deploy.rollout_store import KIND, Kept
from andon.measure.sketch import Categories
from andon.measure.summary import Count
from andon.monitor.arms import arm_cohort
from andon.monitor.deciders import DECIDED, LABELLED, REVIEWED
from andon.monitor.rollup import lengths
from andon.monitor.watch import AlarmWatch
from andon.monitor.window import STANDARD, WindowRow
from andon.people.access import Access
from andon.store.tokens import TokenFile
from andon.store.view import decisions
from andon.surface.page import Empty
from andon.surface.status import line_status
from andon.surface.view.line import LineView, line_view
from andon.surface.view.line_deciders import marks
from andon.surface.view.line_words import happened, href_of, linked
from andon.surface.visit import Visit, local_viewer

CHARTER = """
project: parts
inputs: {width: float, scratches: int}
target: {name: verdict, classes: [accept, reject]}
safe_default: refer
metrics:
  error: {of: error_rate, goal: "<= 0.2"}
  nulls: {of: null_outputs, alarm: "<= 0.1"}
  automatic: {of: automatic_share}
slices: {scratched: "scratches > 1"}
risks: [{what: it is wrong, shows_in: [error]}]
automation: {level: full}
monitor: {window: 1h}
"""
NOW = 200 * DAY


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project as `andon init` leaves it, with no token asked for."""
    (tmp_path / "andon.yaml").write_text(CHARTER)
    (tmp_path / "model.py").write_text("def train(data, params):\n    return None\n")
    made = open_project(tmp_path)
    made.workspace.clock.set(time_us=NOW, rate=0.0)
    yield made
    made.workspace.close()


def view(project: Project) -> LineView:
    return line_view(Visit(project, local_viewer(), Access(TokenFile(project.workspace.home))), Empty())


def ask(project: Project, path: str) -> httpx.Response:
    answer = Reader(project).get(path)
    assert answer.status_code == 200, answer.text
    return answer


def page(project: Project) -> str:
    return unescape(ask(project, "/").text)


def routes(project: Project, *steps: dict[str, Any]) -> list[Route]:
    """Publish routes an hour apart, the last one an hour ago; each takes over what the one before said."""
    body: dict[str, Any] = {"actor": "ann", "reason": "", "action": "begin", "levels": {"*": "human"}}
    for number, step in enumerate(steps):
        body |= step
        at = NOW - (len(steps) - number) * HOUR
        project.workspace.routes.publish(Route(project.workspace.routes.next_epoch(), at, at, **body))
    return project.workspace.routes.history()


def decide(project: Project, start: int, counts: dict[str, int], metric: str = DECIDED, cohort: str = "") -> None:
    """Windows as ingest leaves them, in every length."""
    rows = [WindowRow(metric, cohort, start // length * length, length, Categories(counts)) for length in lengths(HOUR)]
    with project.workspace.db.write() as connection:
        end = project.workspace.windows.offsets("test").get("s", 0) + 1
        project.workspace.windows.merge(connection, "test", "s", end, rows)


# ------------------------------------------------------------------------------------------------------------- empty


def test_a_new_project_says_on_every_card_what_to_do_next(project: Project) -> None:
    found = view(project)
    assert [card.href for card in found.cards] == ["/scope", "/data", "/models", "/deploy", "/watch"]
    assert all(card.next for card in found.cards)
    assert not found.deciders.layers and found.back.n == 0 and found.rollout.kind == "none"
    assert {metric.state for metric in found.wall.metrics} == {"idle"}
    text = page(project)
    for sentence in (
        "the line is not running",
        "nothing was decided lately",
        "starts the line; then every decision is counted here",
        "No release yet",
        "Whatever is done to the line will be here",
        "Nothing is trained yet",
        "nothing was measured yet",
    ):
        assert sentence in text, sentence
    for command in ("andon data add FILE", "andon train", "andon up", "andon release"):
        assert f"<code>{command}</code>" in text, command
    for place in ("stations", "needs", "deciders", "rollout", "wall", "journal", "improve"):
        assert f'id="{place}" data-live' in text, place


def test_the_twin_says_all_that_status_says(project: Project) -> None:
    body = ask(project, "/api/v1/line").json()
    status = msgspec.json.decode(msgspec.json.encode(line_status(project)))
    assert status.keys() < body.keys()
    same = ("project", "sentence", "stations", "needs", "deciding", "journal", "state")
    assert {key: body[key] for key in same} == {key: status[key] for key in same}
    assert msgspec.to_builtins(msgspec.convert(body, LineView)).keys() == body.keys()


def test_with_the_database_gone_every_card_says_so_and_the_files_are_shown(project: Project) -> None:
    routes(project, {"live": "v1", "levels": {"*": "full"}})
    project.workspace.close()
    (project.workspace.home / "andon.db").rename(project.workspace.home / "elsewhere.db")
    again = open_project(project.root)
    try:
        found = view(again)
        assert found.deciding.live == "v1" and found.trouble and found.notices[0].text.startswith(found.trouble)
        assert found.deciders.trouble and found.wall.trouble and found.improve.trouble and found.back.labelled is None
        assert "comes from the files of the line" in page(again)
    finally:
        again.workspace.close()


# --------------------------------------------------------------------------------------------------------- who decides


def test_who_decides_is_what_the_windows_counted(project: Project) -> None:
    routes(project, {}, {"action": "switch", "live": "v1", "levels": {"*": "full"}})
    decide(project, NOW - 3 * HOUR, {"pending": 4})
    decide(project, NOW - 2 * HOUR, {"pending": 1, "model:live:v1": 3})
    decide(project, NOW - HOUR, {"model:candidate:v2": 1, "model:live:v1": 1, "safe_default": 2})
    decide(project, NOW - 3 * HOUR, {"person": 2, "safe_default": 1}, REVIEWED)
    decide(project, NOW - 2 * HOUR, {"label": 3}, LABELLED)
    found = view(project)
    layers = {layer.name: (layer.tone, layer.n, layer.values) for layer in found.deciders.layers}
    assert layers == {
        "people": ("people", 4, (0.75, 0.25, 0.0)),
        "safe default": ("idle", 3, (0.25, 0.0, 0.5)),
        "v1 (live)": ("machine", 4, (0.0, 0.75, 0.25)),
        "v2 (canary)": ("candidate", 1, (0.0, 0.0, 0.25)),
    }
    assert (found.deciders.n, found.deciders.waiting, found.back.labelled) == (12, 2, 3)
    assert [mark.text for mark in found.deciders.marks] == ["human", "v1 live"]
    text = page(project)
    assert "12 decisions, in steps of 60 min: people 4, safe default 3, v1 (live) 4, v2 (canary) 1" in text
    assert "2 are not answered yet" in text and "3 of 12 decisions have a label by now" in text


def test_times_without_a_decision_are_gaps(project: Project) -> None:
    for hour in (9, 8, 7, 5, 4, 2, 1):
        decide(project, NOW - hour * HOUR, {"pending": 1})
    (people,) = view(project).deciders.layers
    assert people.values == (1.0, 1.0, 1.0, None, 1.0, 1.0, None, 1.0, 1.0)


def test_many_versions_are_drawn_in_few_layers(project: Project) -> None:
    for number in range(7):
        decide(project, NOW - (8 - number) * HOUR, {f"model:live:v{number}": 2, f"model:candidate:v{number + 1}": 1})
    names = [layer.name for layer in view(project).deciders.layers]
    assert names[:2] == ["people", "4 earlier versions"] and len(names) == 2 + 3 + 1 + 3
    assert sum(layer.n for layer in view(project).deciders.layers) == 21


def test_marks_say_what_the_routes_changed_and_are_red_where_it_fell_back(project: Project) -> None:
    history = routes(
        project,
        {},
        {"action": "shadow", "shadows": ("v1",), "levels": {"*": "shadow"}},
        {"action": "switch", "live": "v1", "shadows": ()},
        {"action": "automate", "levels": {"*": "partial"}},
        {"action": "automate", "levels": {"*": "partial", "scratched": "assist"}},
        {"action": "automate", "levels": {"*": "shadow", "scratched": "shadow"}, "actor": "controller"},
        {"action": "automate", "levels": {"*": "full", "scratched": "full"}, "actor": "ann"},
        {"action": "warm", "warm": ("v2",)},
        {"action": "canary", "candidate": "v2", "share": 0.05},
        {"action": "ramp", "share": 0.5},
        {"action": "rollback", "candidate": None, "share": 0.0},
        {"action": "stop", "stopped": "people"},
        {"action": "start", "stopped": ""},
    )
    assert [(mark.text, mark.tone) for mark in marks(history)] == [
        ("human", "plain"),
        ("shadow v1", "plain"),
        ("v1 live", "plain"),
        ("partial", "plain"),
        ("back to assist in scratched", "alarm"),
        ("fell back", "alarm"),
        ("full", "plain"),
        ("canary v2 5 %", "plain"),
        ("50 %", "plain"),
        ("back to v1", "alarm"),
        ("stopped", "alarm"),
        ("goes on", "plain"),
    ]


# ------------------------------------------------------------------------------------------------------------- rollout


def canary(project: Project) -> None:
    levels = {"levels": {"*": "full"}, "live": "v1", "salt": "v2@2"}
    routes(
        project,
        {"action": "switch", **levels, "salt": ""},
        {"action": "canary", **levels, "candidate": "v2", "share": 0.05, "reason": "try it"},
        {"action": "ramp", **levels, "candidate": "v2", "share": 0.2, "actor": "bob", "reason": "fine so far"},
    )


def test_a_canary_shows_both_arms_as_far_as_they_are_measured(project: Project) -> None:
    canary(project)
    decide(project, NOW - HOUR, {"model:candidate:v2": 8, "pending": 2}, cohort=arm_cohort("v2@2", "candidate"))
    decide(project, NOW - HOUR, {"model:live:v1": 60, "pending": 30}, cohort=arm_cohort("v2@2", "live"))
    found = view(project).rollout
    assert (found.kind, found.version, found.live, found.share, found.held) == ("canary", "v2", "v1", 0.2, False)
    assert [(step.share, step.actor, step.reason) for step in found.steps] == [
        (0.05, "ann", "try it"),
        (0.2, "bob", "fine so far"),
    ]
    assert [(arm.arm, arm.version, arm.n, arm.automatic) for arm in found.arms] == [
        ("candidate", "v2", 10, 8),
        ("live", "v1", 90, 60),
    ]
    assert [(guard.metric, guard.bound, guard.candidate.reason) for guard in found.guards] == [
        ("error", "<= 0.2", "nothing was measured yet")
    ]
    text = page(project)
    assert (
        "Canary v2" in text and "Moved by hand" in text and "whether the figures are enough is for you to say" in text
    )
    for invented in ("harm", "safe 1", "verdict expected", "of the way"):
        assert invented not in text.lower().replace("safe default", ""), invented


def test_a_canary_that_moves_by_evidence_says_so(project: Project) -> None:
    plan = Plan("v2", "v1", ("canary", "live"), ("error",))
    begun = Kept(Rollout("v2#1", plan, state="canary", sentence="v2 is fit: it gets 5 % of the units, v1 the rest"))
    project.workspace.states.put(KIND, "v2#1", begun)
    canary(project)
    found = view(project).rollout
    assert found.auto == "v2#1 is canary: v2 is fit: it gets 5 % of the units, v1 the rest."
    assert found.next[0].text == "andon deploy explain"
    text = page(project)
    assert "Moved by evidence" in text and "Moved by hand" not in text


def test_a_release_that_was_taken_back_is_not_proposed_again(project: Project) -> None:
    routes(project, {"action": "switch", "live": "v1", "levels": {"*": "full"}})
    project.workspace.records.put("release", "v2", {})
    plan = Plan("v2", "v1", ("canary", "live"), ("error",))
    ends: tuple[tuple[State, str], ...] = (("settled", "deploy canary v2"), ("rolled_back", "deploy explain"))
    for state, said in ends:
        ended = Kept(Rollout("v2#1", plan, state=state, sentence="v1 answers; it did harm"))
        project.workspace.states.put(KIND, "v2#1", ended)
        assert any(said in part.text for part in view(project).rollout.next)
    assert view(project).rollout.sentence == ("v2 is the newest release and was taken back: v1 answers; it did harm.")
    assert "andon deploy canary v2" not in page(project)


def test_what_is_on_its_way_is_said_for_every_kind(project: Project) -> None:
    routes(project, {"action": "shadow", "shadows": ("v1",), "levels": {"*": "shadow"}})
    assert view(project).rollout.kind == "shadow" and "runs in the shadow of people" in page(project)
    routes(project, {"action": "blue-green", "live": "v1", "candidate": "v2", "levels": {"*": "full"}})
    assert view(project).rollout.kind == "standby" and "v2 stands by, loaded" in page(project)


# ---------------------------------------------------------------------------------------------------------------- wall


def test_the_wall_has_the_charters_metrics_first_and_each_once(project: Project) -> None:
    nulls = [
        WindowRow("nulls", "", NOW - hour * HOUR, HOUR, Count(100, 50 if hour < 3 else 1, 100, 100))
        for hour in range(5, 0, -1)
    ]
    project.workspace.windows.replace(nulls)
    AlarmWatch(project.workspace, project.charter).look()
    found = view(project).wall
    names = [metric.name for metric in found.metrics]
    assert names[:3] == ["error", "nulls", "automatic"]
    assert set(names[3:]) == set(STANDARD) - {"null_outputs", "automatic_share"}, (
        "what the charter measures is there once"
    )
    bad = found.metrics[1]
    assert (bad.state, bad.word, bad.says) == ("stop", "alarm firing", "alarm <= 10 %")
    assert bad.current.value == 0.5 and bad.trend == (0.01, 0.01, 0.01, 0.5, 0.5) and bad.href == "/watch/metrics/nulls"
    text = page(project)
    assert "50 %" in text and "alarm ≤ 10 %" in text and 'href="/watch/alarms/nulls"' in text
    wanted = {one.need.kind: one for one in view(project).wanted}
    assert wanted["alarm"].href == "/watch/alarms/nulls" and wanted["alarm"].label == "Open"


def test_a_goal_is_held_against_the_last_window(project: Project) -> None:
    for value, state in ((5, "good"), (95, "look"), (20, "idle")):
        counts = Count(100, value, 100, 100)
        text = CHARTER.replace("of: automatic_share", 'of: automatic_share, goal: "<= 0.2"')
        (project.root / "andon.yaml").write_text(text)
        again = open_project(project.root)
        again.workspace.windows.replace([WindowRow("automatic", "", NOW - 2 * HOUR, HOUR, counts)])
        metric = next(one for one in view(again).wall.metrics if one.name == "automatic")
        assert metric.state == state, (value, metric.word)
        again.workspace.close()


# --------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("command", "href"),
    [
        ("andon review list", "/review"),
        ("andon alarms ack error/older", "/watch/alarms/error/older"),
        ("andon monitor show error", "/watch/metrics/error"),
        ("andon errors r12", "/models/r12"),
        ("andon release RUN", ""),
        ("andon data add FILE", "/data"),
        ("andon check", "/scope"),
        ("andon up", ""),
        ("andon checkers", ""),
        ("andon errors //evil.example", ""),
        ("andon errors javascript:x", ""),
    ],
)
def test_commands_lead_to_the_page_that_does_the_same(command: str, href: str) -> None:
    assert href_of(command) == href


def test_a_text_in_pieces_is_the_text(project: Project) -> None:
    text = "first `andon up`, then <b>`andon check`</b>"
    assert "".join(f"`{word.text}`" if word.command else word.text for word in linked(text)) == text


def test_events_are_sentences_whatever_stands_in_them() -> None:
    event = Event("alarm.fired", HOSTILE[0], "ann", "it is 0.5", 0, 0)
    told = happened(event, {})
    assert (told.sentence, told.reason, told.tone) == (f"alarm {HOSTILE[0]} fired: it is 0.5", "", "alarm")
    assert "<" not in told.href and '"' not in told.href
    other = happened(msgspec.structs.replace(event, action="own.word"), {})
    assert (other.sentence, other.reason, other.tone) == (f"own.word: {HOSTILE[0]}", "it is 0.5", "plain")


# ---------------------------------------------------------------------------------------------- a line that has lived


def test_a_line_with_half_a_day_behind_it_says_what_its_log_says(board_project: Workshop, board: Served) -> None:
    made = open_project(board_project.root)
    try:
        found = view(made)
        log = decisions(made.workspace)
        people = log.filter(~log["decided_by"].is_in(["model", "safe_default"])).height
        counted = {layer.name: layer.n for layer in found.deciders.layers}
        assert sum(counted.values()) == found.deciders.n == log.height > 0
        assert counted["people"] == people
        models = sum(layer.n for layer in found.deciders.layers if layer.tone in ("machine", "candidate"))
        assert models == log.filter(log["decided_by"] == "model").height
        assert found.deciders.waiting == log.filter(log["status"] == "pending").height
        assert found.improve.rows and found.wall.metrics and found.happened
    finally:
        made.workspace.close()
    answer = board.get("/")
    assert answer.status == 200
    for harm in HOSTILE[:3]:
        assert harm not in answer.text
