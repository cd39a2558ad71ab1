"""The line's commands on the board: a preview says what then happens, in the words of the act, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.board.deploying import Yard, refused

from andon.core.clock import HOUR
from andon.deploy.chronicle import sentence
from andon.deploy.prospect import WISHES, Prospects
from andon.errors import Conflict, Unavailable, UsageError
from andon.monitor.deciders import decided as windows_of
from andon.surface.api import PREFIX
from andon.surface.decode import fields_of
from andon.surface.view.deploy_act import COMMANDS
from andon.surface.view.deploy_pace import decided as pace_of

#: A walk that takes every command once where it is possible.
WALK: list[tuple[str, dict[str, Any]]] = [
    ("deploy.shadow", {"version": "v1", "reason": "let it watch"}),
    ("deploy.unshadow", {"version": "v1"}),
    ("deploy.shadow", {"version": "v1"}),
    ("automate", {"level": "assist"}),
    ("deploy.canary", {"version": "v2", "reason": "a few first"}),
    ("deploy.ramp", {"share": 0.25}),
    ("deploy.hold", {"reason": "the weekend"}),
    ("deploy.resume", {}),
    ("deploy.switch", {}),
    ("automate", {"level": "full", "slice": "older"}),
    ("stop", {"reason": "smoke"}),
    ("start", {"reason": "only steam"}),
    ("stop", {"safe_default": True}),
    ("start", {}),
    ("deploy.blue-green", {"version": "v3"}),
    ("deploy.rollback", {"reason": "worse"}),
    ("automate", {"level": "human"}),
    ("deploy.switch", {"version": "v1"}),
]
STEPS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.sampled_from(["start", "deploy.hold", "deploy.resume", "deploy.rollback", "deploy.switch"]).map(
        lambda n: (n, {})
    ),
    st.booleans().map(lambda safe: ("stop", {"safe_default": safe})),
    st.tuples(
        st.sampled_from(["deploy.shadow", "deploy.unshadow", "deploy.canary", "deploy.blue-green", "deploy.switch"]),
        st.sampled_from(["v1", "v2", "v3", "v4"]).map(lambda version: {"version": version}),
    ),
    st.sampled_from([0.01, 0.3, 1.0]).map(lambda share: ("deploy.ramp", {"share": share})),
    st.tuples(
        st.just("automate"),
        st.fixed_dictionaries(
            {
                "level": st.sampled_from(["human", "shadow", "assist", "partial", "full"]),
                "slice": st.sampled_from(["*", "older", "nowhere"]),
            }
        ),
    ),
)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard")
    yield made
    made.close()


def test_every_command_is_taken_on_the_walk() -> None:
    assert {name for name, _ in WALK} == {command.name for command in COMMANDS}
    assert all(command.preview is not None and command.back == "/deploy" for command in COMMANDS)
    called = {command.name.removeprefix("deploy.").replace("-", "_") for command in COMMANDS}
    assert called == set(WISHES) and all(hasattr(Prospects, wish) for wish in WISHES)


def test_what_is_said_beforehand_is_what_happens(yard: Yard) -> None:
    for name, given_ in WALK:
        before = yard.state()
        asked = yard.ask(name, **given_)
        assert yard.state() == before, f"the preview of {name} changed something"
        done = yard.act(name, **given_)
        assert asked.then == sentence(yard.route), name
        assert done.sentence == f"{asked.then} (route {yard.route.epoch})"
        assert (done.epoch, done.route["epoch"], done.journalled) == (yard.route.epoch, yard.route.epoch, True)
        event = yard.workspace.journal.latest(1)[0]
        assert (event.subject, event.actor, event.reason) == (f"route {done.epoch}", "maria", given_.get("reason", ""))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=5, max_size=10))
def test_of_every_action_the_preview_tells_the_outcome_or_the_refusal(
    steps: list[tuple[str, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    yard = Yard(tmp_path_factory.mktemp("yard"))
    try:
        for name, given_ in steps:
            before = yard.state()
            asked: list[str] = []
            foreseen = refused(lambda: asked.append(yard.ask(name, **given_).then))  # noqa: B023 - called at once
            assert yard.state() == before
            met = refused(lambda: yard.act(name, **given_))  # noqa: B023 - called at once
            assert (type(met), str(met)) == (type(foreseen), str(foreseen)), name
            if met is None:
                assert asked == [sentence(yard.route)], name
    finally:
        yard.close()


def test_a_prospect_is_the_route_that_then_comes_but_for_what_only_the_act_learns(yard: Yard) -> None:
    told = (
        "live",
        "candidate",
        "share",
        "shadows",
        "levels",
        "slices",
        "stopped",
        "held",
        "previous",
        "bundles",
        "action",
    )
    for name, given_ in WALK:
        method = name.removeprefix("deploy.").replace("-", "_")
        words = {key: value for key, value in given_.items() if key not in ("reason", "safe_default")}
        if given_.get("safe_default"):
            words["mode"] = "safe_default"
        after = getattr(Prospects(yard.workspace, yard.project.charter), method)(**words)
        yard.act(name, **given_)
        assert [getattr(after, key) for key in told] == [getattr(yard.route, key) for key in told], name


# ----------------------------------------------------------------------------------------------- what to think of


def test_the_first_action_says_that_the_line_begins(yard: Yard) -> None:
    asked = yard.ask("deploy.shadow", version="v1")
    assert asked.now == "people decide everything; level shadow"
    assert "the line has no route yet: it begins first, as the charter says" in asked.facts
    assert yard.workspace.routes.current() is None


def test_a_version_that_is_not_loaded_yet_is_said(yard: Yard) -> None:
    yard.line.switch("v1")
    assert any("no gateway worker runs" in fact for fact in yard.ask("deploy.canary", version="v2").facts)
    yard.worker("w0", yard.route.epoch, "v1")
    yard.worker("w1", yard.route.epoch, "v1", "v2")
    warnings = yard.ask("deploy.canary", version="v2").warnings
    assert "w0 of 2 workers have not v2 loaded yet: that comes first, and where it fails nothing changes" in warnings
    yard.worker("w0", yard.route.epoch, "v1", "v2")
    asked = yard.ask("deploy.canary", version="v2")
    assert not any("loaded" in one for one in asked.warnings) and not any("no gateway" in one for one in asked.facts)


def test_goals_that_were_not_met_are_said_each_time_it_gets_more(yard: Yard) -> None:
    yard.line.switch("v1")
    wanted = "v3 was released against its goals: recall on older is 0.5: outside >= 0.9"
    assert wanted in yard.ask("deploy.canary", version="v3").warnings
    assert not any("against its goals" in one for one in yard.ask("deploy.canary", version="v2").warnings)
    yard.line.canary("v3")
    assert wanted in yard.ask("deploy.ramp", share=0.5).warnings
    assert wanted in yard.ask("deploy.switch").warnings
    assert not yard.ask("deploy.rollback").warnings


def test_too_little_seen_in_the_shadow_is_said_with_what_it_could_hide(yard: Yard) -> None:
    yard.line.switch("v1")
    never = "v2 never ran in the shadow; the charter's way of a release is shadow, canary, live"
    assert never in yard.ask("deploy.canary", version="v2").warnings
    yard.shadow("v2", {f"c{number}": "accept" for number in range(60)})
    [warning] = yard.ask("deploy.canary", version="v2").warnings
    assert warning == (
        "v2 predicted only 60 cases in the shadow: what goes wrong in fewer than 5 % of them may not have shown yet"
    )
    yard.shadow("v2", {f"d{number}": "accept" for number in range(90)})
    assert not yard.ask("deploy.canary", version="v2").warnings
    assert not yard.ask("deploy.shadow", version="v3").warnings  # that is how it is seen


def _rates(yard: Yard, per_hour: int, hours: int) -> None:
    """Windows of a line on which the live version decided so many cases an hour until now."""
    import polars as pl

    length = yard.project.charter.monitor.window_us
    start = yard.clock.now() // length * length - hours * HOUR
    times = [start + hour * HOUR + at for hour in range(hours) for at in range(per_hour)]
    rows = {"time_us": times, "status": "decided", "decided_by": "model", "version": "v1", "arm": "live"}
    yard.workspace.windows.replace(windows_of(pl.DataFrame(rows), length))


def test_how_many_cases_a_day_it_is_about(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.automate("full")
    _rates(yard, 100, 48)
    from andon.surface.station import Known

    pace = pace_of(yard.visit(), Known())
    assert pace is not None and (pace.n, [part.name for part in pace.parts]) == (4800, ["v1"])
    assert 2300 < pace.per_day <= 2400
    canary = yard.ask("deploy.canary", version="v2", share=0.05)
    [about] = [fact for fact in canary.facts if fact.startswith("that is about")]
    assert (
        about
        == f"that is about {0.05 * pace.per_day:,.0f} of about {pace.per_day:,.0f} cases a day, as of the last 2 days"
    )
    stop = yard.ask("stop")
    assert f"that is about {pace.per_day:,.0f} cases a day, as of the last 2 days" in stop.facts
    assert "about 100 cases an hour come to people; the charter counts on 5" in stop.warnings
    assert not any("come to people" in one for one in yard.ask("stop", safe_default=True).warnings)
    assert any("come to people" in one for one in yard.ask("automate", level="shadow").warnings)


def test_raising_a_level_says_what_it_lets_the_model_do(yard: Yard) -> None:
    yard.line.switch("v1")
    full = yard.ask("automate", level="full", slice="older")
    assert full.title == "Level full for older?"
    assert full.danger and "v1 decides every case of older alone, however unsure" in full.warnings
    partial = yard.ask("automate", level="partial")
    assert not partial.danger and any("each look is written down" in one for one in partial.warnings)
    assert "level: shadow → partial" in partial.facts
    yard.line.automate("full")
    lowered = yard.ask("automate", level="assist")
    assert not lowered.danger and any("no step that a rollback undoes" in one for one in lowered.warnings)


def test_what_is_felt_by_everybody_at_once_is_dangerous(yard: Yard) -> None:
    yard.line.switch("v1")
    dangers = {
        name: yard.ask(name, **given_).danger
        for name, given_ in [
            ("stop", {}),
            ("deploy.switch", {"version": "v2"}),
            ("deploy.canary", {"version": "v2"}),
            ("deploy.shadow", {"version": "v2"}),
            ("automate", {"level": "full"}),
            ("automate", {"level": "assist"}),
        ]
    }
    assert dangers == {
        "stop": True,
        "deploy.switch": True,
        "deploy.canary": False,
        "deploy.shadow": False,
        "automate": False,  # the last one: assist
    }
    assert yard.ask("automate", level="full").danger


def test_a_rollback_says_where_to_and_refuses_where_there_is_nothing(yard: Yard) -> None:
    with pytest.raises(UsageError, match="nothing to roll back to"):
        yard.ask("deploy.rollback")
    yard.line.switch("v1", actor="olga")
    yard.line.switch("v2")
    asked = yard.ask("deploy.rollback")
    assert (asked.now, asked.then) == ("v2 is live; level shadow", "back to v1 at level shadow")
    assert "it goes back to route 2 by olga of 2020-03-11 00:00 UTC" in asked.facts


def test_a_stopped_line_says_that_it_is_felt_later(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.stop()
    assert (
        "the line is stopped: this is felt only when it starts again"
        in yard.ask("deploy.canary", version="v2").warnings
    )
    assert "the line is stopped: this is felt only when it starts again" not in yard.ask("start").warnings


# ---------------------------------------------------------------------------------------------- who may, bad input


def test_a_viewer_may_look_and_change_nothing(yard: Yard) -> None:
    yard.line.switch("v1")
    before = yard.state()
    viewer = yard.person("vera", "viewer")
    assert 'href="/act/stop' not in viewer.page("/deploy") and "/act/automate" not in viewer.page("/deploy")
    for command in COMMANDS:
        assert viewer.ask("GET", f"/act/{command.path}").status_code == 403, command.name
        assert viewer.ask("POST", f"/act/{command.path}", data={"version": "v2"}).status_code == 403, command.name
        fields = {field.encode_name for field in fields_of(command.params)}
        body = {
            name: value for name, value in {"version": "v2", "share": 0.1, "level": "human"}.items() if name in fields
        }
        denied = viewer.post(command.path, **body)
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "denied"), command.name
    assert yard.state() == before


def test_anyone_but_a_viewer_pulls_the_cord_and_only_some_let_it_go_on(yard: Yard) -> None:
    yard.line.switch("v1")
    labeler, operator = yard.person("lea", "labeler"), yard.person("olga", "operator")
    assert labeler.post("stop", reason="smoke").status_code == 200
    event = yard.workspace.journal.latest(1)[0]
    assert (event.action, event.actor, event.reason) == ("deploy.stop", "lea", "smoke")
    for name in ("start", "deploy/rollback", "deploy/hold"):
        denied = labeler.post(name)
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "denied"), name
    assert yard.route.stopped == "people"
    assert operator.post("start").json()["sentence"].startswith("the line goes on with v1")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("deploy/canary", {"version": "v22"}, "no release is called 'v22'; did you mean 'v2'"),
        ("deploy/canary", {"version": "v2", "share": 2}, "share: expected"),
        ("deploy/canary", {"version": "v2", "share": "much"}, "share: expected"),
        ("deploy/canary", {}, "version is missing"),
        ("deploy/canary", {"version": "v2", "shrae": 0.1}, "did you mean 'share'"),
        ("deploy/ramp", {"share": 0.5}, "there is no candidate to ramp"),
        ("deploy/ramp", {"share": 0}, "share: expected"),
        ("deploy/switch", {}, "there is nothing to switch to"),
        ("deploy/hold", {}, "there is no candidate whose share could be held"),
        ("deploy/resume", {}, "no rollout is held"),
        ("deploy/unshadow", {"version": "v1"}, "v1 does not run in the shadow"),
        ("automate", {"level": "partly"}, "level: "),
        ("automate", {"level": "full", "slice": "oldr"}, "did you mean 'older'"),
        ("start", {}, "the line is not stopped"),
        ("stop", {"reason": 7}, "reason: expected"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence_and_changes_nothing(
    yard: Yard, name: str, body: dict[str, Any], said: str
) -> None:
    yard.line.switch("v1")
    before = yard.state()
    owner = yard.person("otto", "owner")
    answer = owner.post(name, **body)
    assert answer.status_code in (400, 404, 409) and said in answer.json()["error"]["message"], answer.text
    assert yard.state() == before


def test_a_refusal_is_shown_where_the_question_is_asked(yard: Yard) -> None:
    yard.line.begin()
    owner = yard.person("otto", "owner")
    assert "there is nothing to roll back to" in owner.page("/act/deploy/rollback")
    assert "no release is called" in owner.page("/act/deploy/canary?version=v9")
    yard.line.switch("v1")
    page = owner.page("/act/deploy/canary?version=v2&share=0.05&next=/deploy")
    assert "v2 answers 5 % of the units, v1 the rest" in page and "Send a share of the units to v2?" in page


def test_a_form_acts_in_the_name_of_who_sent_it_and_leads_back(yard: Yard) -> None:
    yard.line.switch("v1")
    operator = yard.person("olga", "operator")
    reply = operator.press("deploy/canary", "/act/deploy/canary?version=v2&share=0.2&next=/deploy", reason="<b>try</b>")
    assert (reply.status_code, reply.headers["location"]) == (303, "/deploy")
    assert (yard.route.candidate, yard.route.share, yard.route.actor, yard.route.reason) == (
        "v2",
        0.2,
        "olga",
        "<b>try</b>",
    )
    page = operator.page("/deploy")
    assert "v2 answers 20 % of the units, v1 the rest (route 3)" in page
    assert "&lt;b&gt;try&lt;/b&gt;" in page and "<b>try</b>" not in page


def test_whoever_is_second_is_told(yard: Yard) -> None:
    yard.line.switch("v1")
    asked = yard.ask("deploy.canary", version="v2")
    yard.line.canary("v3", actor="tom")
    assert asked.then == "v2 answers 5 % of the units, v1 the rest"
    with pytest.raises(Conflict, match="v3 is the candidate already"):
        yard.act("deploy.canary", version="v2")


# ------------------------------------------------------------------------------------------------- the database gone


def test_with_the_database_gone_the_page_says_so_and_the_cord_works(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.switch("v2")
    owner, labeler = yard.person("otto", "owner"), yard.person("lea", "labeler")
    with yard.gone():
        page = owner.page("/deploy")
        assert "Not everything is known now" in page and "v2 is live" in page and 'href="/act/stop' in page
        assert "the line is stopped: people decide everything" in labeler.page("/act/stop?next=/deploy")
        assert labeler.press("stop", "/act/stop?next=/deploy", reason="smoke").status_code == 303
        assert yard.route.stopped == "people"
        asked = yard.ask("deploy.rollback")
        assert any("the database is gone" in one for one in asked.warnings)
        done = yard.act("deploy.rollback")
        assert (done.route["live"], done.journalled) == ("v1", False)
        assert any("the journal follows" in one for one in done.notes)
        assert owner.page("/deploy/history").count('id="route-') == 5
        with pytest.raises(Unavailable, match="v3 cannot be looked up"):
            yard.ask("deploy.canary", version="v3")
    assert yard.workspace.journal.verify() == (True, None)


def test_the_api_says_the_route_as_the_command_line_does(yard: Yard) -> None:
    from andon.deploy.standing import deploy_status

    yard.line.switch("v1")
    owner = yard.person("otto", "owner")
    body = owner.post("deploy/blue-green", version="v2").json()
    assert body["route"] == deploy_status(yard.workspace)["route"]
    assert set(body) >= {"sentence", "notes", "epoch", "route", "journalled", "following", "workers"}
    document = owner.ask("GET", f"{PREFIX}/openapi.json").json()
    assert f"{PREFIX}/deploy/blue-green" in document["paths"]
