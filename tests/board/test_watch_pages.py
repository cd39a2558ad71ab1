"""The Watch pages on a real small line: what they say is what was measured, and what is not known is said to be so."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from tests.board.reviewing import Person
from tests.board.watching import BEGIN, HARM, Line, decided, iso

from andon.core.clock import HOUR, MINUTE
from andon.core.record import Feedback, Route
from andon.measure.estimate import wilson
from andon.measure.metric import parse_metric
from andon.measure.sketch import Latency
from andon.measure.summary import Confusion, Count
from andon.store.codec import DecisionRow

CLASSES = ("negative", "positive")
PAGES = (
    "/watch",
    "/watch/metrics/error",
    "/watch/alarms",
    "/watch/alarms/error",
    "/watch/feedback",
    "/watch/versions",
    "/decisions",
)


@pytest.fixture
def ann(line: Line) -> Person:
    return line.person("ann", "operator")


def count(hits: int, n: int = 100) -> Count:
    return Count(n, hits, n, n)


def errors(wrong: int, n: int = 100) -> Confusion:
    table = pl.DataFrame({"label": ["negative"] * n, "prediction": ["negative"] * (n - wrong) + ["positive"] * wrong})
    made = parse_metric("error_rate", CLASSES).summarise(table)
    assert isinstance(made, Confusion)
    return made


def card(twin: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for group in twin["groups"] for one in group["cards"] if one["name"] == name]
    return dict(found)


@pytest.mark.parametrize("path", PAGES)
def test_a_line_that_did_nothing_says_so_and_what_to_do(ann: Person, path: str) -> None:
    text = ann.page(path)
    assert 'class="empty"' in text
    ann.twin(path)
    assert not re.search(r'\sstyle="', text)


def test_the_wall_shows_every_metric_by_what_it_is_about(line: Line, ann: Person) -> None:
    line.window("nulls", 0, count(5))
    line.window("nulls", 1, count(1))
    line.window("latency", 1, Latency.of(pl.Series([4.0, 5.0, 6.0])))
    line.at(2.5)
    line.window("nulls", 2, count(50))
    twin = ann.twin("/watch")
    assert [group["name"] for group in twin["groups"]] == ["input", "output", "performance", "software"]
    nulls = card(twin, "nulls")
    assert nulls["current"] == {
        "value": 0.01,
        **{k: nulls["current"][k] for k in ("low", "high")},
        "n": 100,
        "method": "wilson",
    }
    assert nulls["current_us"] == BEGIN + HOUR, "the window that is not over yet counts for nothing"
    assert [point["mature"] for point in nulls["points"]] == [True, True, False]
    assert (nulls["bound"], nulls["state"]) == ("≤ 10 %", "good")
    assert card(twin, "error")["state"] == "idle" and card(twin, "error")["labels_to_us"] == BEGIN + HOUR // 2
    text = ann.page("/watch")
    assert "error, labels to <time" in text and "nulls, labels to" not in text
    assert "nothing was measured" in text


def test_labels_that_may_still_come_keep_a_window_from_being_the_current_one(line: Line, ann: Person) -> None:
    for hour in range(5):
        line.window("error", hour, errors(10 * hour))
    line.at(5)
    shown = card(ann.twin("/watch"), "error")
    assert [point["mature"] for point in shown["points"]] == [True, True, True, False, False]
    assert shown["current"]["value"] == 0.2
    line.at(5 - 1e-6 / 3600)
    assert card(ann.twin("/watch"), "error")["current"]["value"] == 0.1, "a microsecond earlier it was not over"


def test_of_a_late_metric_the_windows_before_are_shown_too(line: Line, ann: Person) -> None:
    for hour in range(10):
        line.window("error", hour, errors(hour))
        line.window("nulls", hour, count(hour))
    line.at(10)
    twin = ann.twin("/watch?windows=2")
    assert [point["start_us"] for point in card(twin, "nulls")["points"]] == [BEGIN + 8 * HOUR, BEGIN + 9 * HOUR]
    starts = [point["start_us"] for point in card(twin, "error")["points"]]
    assert (
        starts == [BEGIN + hour * HOUR for hour in (6, 7, 8, 9)]
        and card(twin, "error")["current_us"] == BEGIN + 7 * HOUR
    )


def test_a_goal_that_is_not_shown_to_be_met_wants_a_look(line: Line, ann: Person) -> None:
    line.at(9)
    for hour, wrong in ((0, 5), (1, 15), (2, 60)):
        line.window("error", 0, errors(wrong))
        assert card(ann.twin("/watch"), "error")["state"] == {0: "good", 1: "look", 2: "look"}[hour]


def test_a_slice_is_looked_at_alone(line: Line, ann: Person) -> None:
    line.window("nulls", 0, count(5))
    line.window("nulls", 0, count(50, 60), "older")
    line.at(2)
    assert card(ann.twin("/watch?slice=older"), "nulls")["current"]["n"] == 60
    assert card(ann.twin("/watch?slice=coughing"), "nulls")["points"] == []
    assert ann.ask("GET", "/api/v1/watch?slice=oldr").status_code == 404
    assert "did you mean" in ann.page("/watch?slice=oldr", 404)


def test_time_is_half_open_and_said_in_sentences(line: Line, ann: Person) -> None:
    for hour in range(6):
        line.window("nulls", hour, count(hour))
    line.at(6)
    found = ann.twin(f"/watch?since={iso(BEGIN + HOUR)}&until={iso(BEGIN + 3 * HOUR)}")
    assert [point["start_us"] for point in card(found, "nulls")["points"]] == [BEGIN + HOUR, BEGIN + 2 * HOUR]
    for query, says in (
        ("since=yesterday", "since: expected a date or time"),
        ("until=0001-01-01", "until: expected a date or time"),
        (f"since={iso(BEGIN)}&until={iso(BEGIN)}", "since: expected a time before"),
        (f"since={iso(BEGIN + 9 * HOUR)}", "since: expected a time before now"),
        ("windows=0", "windows"),
        ("windows=5001", "windows"),
    ):
        answer = ann.ask("GET", f"/api/v1/watch?{query}")
        assert answer.status_code == 400 and says in answer.json()["error"]["message"], query
        assert answer.json()["error"]["field"] == query.split("=")[0]
        assert says in ann.page(f"/watch?{query}", 400)
    for query in ("windows=1", "windows=5000", "since=1970-01-01", "until=9999-12-31"):
        ann.twin(f"/watch?{query}")


def test_many_windows_are_added_up_to_few_points_and_nothing_is_lost(line: Line, ann: Person) -> None:
    for hour in range(500):
        line.window("nulls", hour, count(1, 10))
    line.at(500)
    twin = ann.twin("/watch/metrics/nulls?windows=500")
    assert twin["span"]["point_us"] == 6 * HOUR and len(twin["card"]["points"]) <= 120
    assert sum(point["estimate"]["n"] for point in twin["card"]["points"]) == 5000 == twin["whole"]["n"]
    assert len(ann.twin("/watch/metrics/nulls?windows=120")["card"]["points"]) == 120


def test_a_line_that_stands_still_shows_its_last_windows(line: Line, ann: Person) -> None:
    line.window("throughput_per_s", 3, parse_metric("throughput_per_s").kind())
    line.window("nulls", 3, count(7))
    line.at(24 * 300)
    twin = ann.twin("/watch?windows=5")
    assert twin["span"]["until_us"] == BEGIN + 4 * HOUR and twin["span"]["note"].startswith(
        "nothing was measured after 2020"
    )
    assert card(twin, "nulls")["current"]["value"] == 0.07
    assert "nothing was measured after" in ann.page("/watch?windows=5")


# ------------------------------------------------------------------------------------------------------------ one metric


def test_one_metric_has_its_slices_its_meaning_and_its_risks(line: Line, ann: Person) -> None:
    for hour in range(4):
        line.window("nulls", hour, count(4))
        line.window("nulls", hour, count(10, 20), "older")
    line.at(4)
    twin = ann.twin("/watch/metrics/nulls")
    assert {part["name"]: part["whole"]["value"] for part in twin["parts"]} == {
        "": 0.04,
        "older": 0.5,
        "coughing": None,
    }
    shown = twin["shown"]
    assert (shown["of"], shown["alarm"], shown["for_windows"], shown["then"]) == ("null_outputs", "≤ 10 %", 2, "notify")
    assert shown["risks"] == ["the forms lose a field (watched)"]
    text = ann.page("/watch/metrics/nulls")
    assert "the forms lose a field" in text and "older" in text and 'data-zoom="span-form ' in text
    assert ann.twin("/watch/metrics/throughput_per_s")["shown"]["in_charter"] is False
    assert "no metric is called" in ann.page("/watch/metrics/nullz", 404)


def test_what_every_line_measures_is_reached_by_its_link(line: Line, ann: Person) -> None:
    name = "missing(note)"
    line.window(name, 0, count(3))
    line.at(2)
    found = card(ann.twin("/watch"), name)
    assert found["href"] == "/watch/metrics/missing%28note%29" and found["href"] in ann.page("/watch")
    assert ann.twin(found["href"])["whole"]["value"] == 0.03


def test_two_times_are_compared_and_no_more_is_said_than_is_known(line: Line, ann: Person) -> None:
    for hour in range(12):
        line.window("nulls", hour, count(20 if hour < 4 else 60 if hour < 8 else 21))
    line.at(12)

    def against(first: tuple[int, int], second: tuple[int, int]) -> dict[str, Any]:
        (since, until), (other, end) = ([iso(BEGIN + hour * HOUR) for hour in pair] for pair in (first, second))
        query = f"since={since}&until={until}&against_since={other}&against_until={end}"
        ann.page(f"/watch/metrics/nulls?{query}")
        return dict(ann.twin(f"/watch/metrics/nulls?{query}")["against"])

    higher = against((4, 8), (0, 4))
    assert higher["first"]["value"] == 0.6 and higher["second"]["value"] == 0.2
    assert higher["difference"]["value"] == pytest.approx(0.4) and higher["difference"]["low"] > 0.3
    assert higher["sentence"].startswith("In the first it is higher: the first less the second is 40 points (")
    assert "does not say why" in higher["sentence"]
    same = against((8, 12), (0, 4))
    assert same["difference"]["low"] < 0 < same["difference"]["high"] and "no difference is shown" in same["sentence"]
    both = against((0, 5), (4, 8))
    assert both["difference"]["value"] is None and "overlap" in both["sentence"]
    nothing = against((4, 8), (20, 22))
    assert nothing["sentence"] == "There is no difference to tell: nothing was measured then."


def test_what_is_compared_has_two_ends_in_order(line: Line, ann: Person) -> None:
    line.at(5)
    since = f"against_since={iso(BEGIN)}"
    for query, field in (
        (since, "against_until"),
        (f"against_until={iso(BEGIN)}", "against_since"),
        (f"{since}&against_until={iso(BEGIN)}", "against_until"),
        ("against_since=1970-01-01&against_until=2020-01-01", "against_since"),
    ):
        answer = ann.ask("GET", f"/api/v1/watch/metrics/nulls?{query}")
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


def test_windows_whose_labels_may_still_come_are_no_part_of_a_sum(line: Line, ann: Person) -> None:
    for hour in range(6):
        line.window("error", hour, errors(0 if hour < 4 else 100))
    line.at(6)
    twin = ann.twin("/watch/metrics/error")
    assert (twin["whole"]["value"], twin["whole"]["n"], twin["left_out"]) == (0.0, 400, 2)
    assert "2 windows whose labels may still come are left out" in ann.page("/watch/metrics/error")


# ---------------------------------------------------------------------------------------------------------------- alarms


def ring(line: Line) -> None:
    """``error`` fires and hands over to people."""
    for hour in range(4):
        line.window("error", hour, errors(80 if hour else 5))
    line.at(6.5)
    assert line.judge() == ["fired", "people"]


def test_an_alarm_tells_its_whole_story(line: Line, ann: Person) -> None:
    ring(line)
    (up,) = ann.twin("/watch")["alarms"]
    assert (up["key"], up["phase"], up["state"]) == ("error", "firing", "stop")
    assert up["sentence"].startswith("error is 80 % (") and up["sentence"].endswith("outside ≤ 30 %")
    assert up["sentence"] in ann.page("/watch")
    answer = ann.post("alarms/ack", key="error", reason=f"a new form {HARM}")
    assert answer.json()["sentence"] == "Alarm error is firing; ann has seen it."
    assert ann.twin("/watch")["alarms"][0]["state"] == "look"
    line.window("error", 4, errors(0))
    line.at(7.5)
    assert line.judge() == ["resolved"]
    line.window("error", 5, errors(90))
    line.at(8.5)
    assert line.judge() == ["fired", "people"]
    twin = ann.twin("/watch/alarms/error")
    second, first = twin["episodes"]
    assert [told["action"] for told in first["story"]] == ["alarm.people", "alarm.acknowledged", "alarm.resolved"]
    assert first["story"][0]["what"] == "people decide everything from now on"
    assert (first["fired_us"], first["ended_us"]) == (BEGIN + int(6.5 * HOUR), BEGIN + int(7.5 * HOUR))
    assert (second["number"], second["ended_us"], second["sentence"][:14]) == (2, None, "error is 90 % ")
    assert twin["ring"]["acknowledged_by"] == "", "it was seen in another firing"
    text = ann.page("/watch/alarms/error")
    assert HARM not in text and "a new form &lt;img" in text and "every decision goes to people" in text


def test_who_may_press_the_buttons(line: Line) -> None:
    ring(line)
    for role, ack, silence in (("viewer", 403, 403), ("reviewer", 200, 403), ("operator", 200, 200)):
        person = line.person(role, role)
        assert person.post("alarms/ack", key="error").status_code == ack
        assert person.post("alarms/silence", key="error").status_code == silence
        line.forget()
        text = person.page("/watch/alarms/error")
        assert ("/act/alarms/silence" in text) == (silence == 200)


def test_a_page_asks_before_it_acts_and_says_what_will_change(line: Line, ann: Person) -> None:
    ring(line)
    asked = ann.page("/act/alarms/ack?key=error&next=/watch/alarms/error")
    assert "ann has seen it" in asked and "nobody has said that they saw it" in asked
    assert "outside ≤ 30 %" in asked
    quiet = ann.page("/act/alarms/silence?key=error&hours=24&next=/watch")
    assert "It is firing and not silent" in quiet and "until 2020-03-12 06:30 UTC" in quiet
    assert "no alarm is called" in ann.page("/act/alarms/ack?key=other")


@pytest.mark.parametrize(
    ("hours", "status"),
    [(0, 200), (0.001, 200), (720, 200), (720.1, 400), (-0.1, 400), ("x", 400), (float("1e300"), 400)],
)
def test_an_alarm_is_silenced_within_bounds(line: Line, ann: Person, hours: Any, status: int) -> None:
    ring(line)
    assert ann.post("alarms/silence", key="error", hours=hours).status_code == status
    until = ann.twin("/watch/alarms/error")["ring"]["silenced_until_us"]
    assert (until > 0) == (status == 200 and hours > 0)


def test_the_alarms_of_slices_have_pages_of_their_own(line: Line, ann: Person) -> None:
    line.window("error", 0, errors(90), "older")
    line.at(4)
    line.judge()
    twin = ann.twin("/watch/alarms")
    assert [one["href"] for one in twin["alarms"]] == ["/watch/alarms/error/older"]
    assert twin["waiting"] == ["nulls", "error", "error/coughing"]
    assert ann.twin("/watch/alarms/error/older")["ring"]["state"] == "stop"
    assert ann.twin("/watch/alarms/error/coughing")["ring"]["state"] == "idle", "it has not judged a window"
    assert ann.ask("GET", "/watch/alarms/error/tall").status_code == 404


def test_an_alarm_that_the_charter_no_longer_has_keeps_its_story(line: Line, ann: Person) -> None:
    ring(line)
    line.project.charter.metrics.pop("error")
    line.forget()
    twin = ann.twin("/watch/alarms")
    assert [one["key"] for one in twin["gone"]] == ["error"] and ann.twin("/watch")["alarms"] == []
    assert ann.twin("/watch/alarms/error")["asked"] is False
    assert "the charter does not ask for it" in ann.page("/watch/alarms/error")


def test_changes_of_the_route_and_the_alarm_are_marks_in_the_chart(line: Line, ann: Person) -> None:
    line.at(2)
    line.workspace.routes.publish(
        Route(1, BEGIN + 2 * HOUR, 0, "ann", "switch", HARM, live=HARM, levels={"*": "full"}, previous=0)
    )
    ring(line)
    twin = ann.twin("/watch/metrics/error")
    assert [one["text"] for one in twin["happened"]] == [f"{HARM} live", "alarm fired"]
    text = ann.page("/watch/metrics/error")
    assert HARM not in text and "alarm fired" in text


# --------------------------------------------------------------------------------------------------- feedback and versions


def test_what_came_back_is_counted_by_kind_and_when(line: Line, ann: Person) -> None:
    line.decide(*(decided(f"d{i}", i / 10) for i in range(10)))
    line.at(4)
    labels = [Feedback(f"d{i}", "label", "negative", time_us=BEGIN + HOUR + i * MINUTE) for i in range(6)]
    line.feedback(*labels, labels[0], Feedback("d1", HARM, 2.5, time_us=BEGIN + 3 * HOUR))
    twin = ann.twin("/watch/feedback")
    assert {kind["name"]: kind["n"] for kind in twin["kinds"]} == {"label": 6, HARM: 1}, "the same event counts once"
    assert twin["share"]["n"] == 10 and twin["share"]["value"] == 0.6
    assert twin["delay"]["n"] == 6 and 0 < twin["delay"]["value"] <= 3600 * 1.1
    assert len(twin["latest"]) == 7 and twin["latest"][0]["value"] in ("negative", "2.5")
    text = ann.page("/watch/feedback")
    assert HARM not in text and "&lt;img" in text


def test_a_hundred_kinds_are_six(line: Line, ann: Person) -> None:
    line.decide(decided("d", 0))
    line.at(2)
    line.feedback(*(Feedback("d", f"kind {i}", 1, time_us=BEGIN + i) for i in range(100)))
    kinds = ann.twin("/watch/feedback")["kinds"]
    assert len(kinds) == 6 and kinds[-1]["name"] == "95 other kinds" and sum(kind["n"] for kind in kinds) == 100
    assert all(len(kind["values"]) == len(ann.twin("/watch/feedback")["times"]) for kind in kinds)
    assert len(ann.twin("/watch/feedback")["latest"]) == 50


def test_a_share_counts_only_decisions_whose_labels_had_time_to_come(line: Line, ann: Person) -> None:
    line.decide(decided("old", 0.5), decided("new", 3.5))
    line.at(4)
    twin = ann.twin("/watch/feedback")
    assert (twin["share"]["n"], twin["decisions"]) == (1, 2)
    assert [point["mature"] for point in twin["shares"]] == [True, False]
    line.at(2.9)
    assert ann.twin("/watch/feedback")["share"]["value"] is None


def test_versions_and_people_are_measured_on_what_each_decided(line: Line, ann: Person) -> None:
    line.decide(*(decided(f"a{i}", 0.1, "negative") for i in range(8)), decided("b", 0.2, "positive", version="v2"))
    line.decide(DecisionRow(id="p", time_us=BEGIN + HOUR, level="partial", version="v2", suggestion="positive"))
    line.decide(DecisionRow(id="q", time_us=BEGIN + HOUR, level="partial", version="v2"))
    line.review("p", "negative")
    line.at(9)
    line.feedback(
        *(Feedback(f"a{i}", "label", "negative" if i < 6 else "positive", time_us=BEGIN + HOUR) for i in range(8))
    )
    line.feedback(
        Feedback("b", "label", "positive", time_us=BEGIN + HOUR),
        Feedback("p", "label", "negative", time_us=BEGIN + HOUR),
    )
    twin = ann.twin("/watch/versions")
    assert [(one["name"], one["n"], one["labelled"]) for one in twin["deciders"]] == [
        ("v1", 8, 8),
        ("v2", 1, 1),
        ("people", 1, 1),
    ]
    rows = {one["metric"]: [found["value"] for found in one["estimates"]] for one in twin["measures"]}
    assert rows["error"] == [0.25, 0.0, 0.0] and rows["machine"] == [0.25, 0.0, None], "its condition limits a metric"
    error = next(one for one in twin["measures"] if one["metric"] == "error")["estimates"][0]
    assert (error["low"], error["high"]) == pytest.approx((wilson(2, 8).low, wilson(2, 8).high))
    assert (twin["total"], twin["waiting"], twin["cut"]) == (11, 1, False)
    assert "Not a comparison" in ann.page("/watch/versions")
    assert ann.twin("/watch/versions?slice=coughing")["total"] == 11


def test_only_the_newest_decisions_are_measured_and_the_page_says_so(
    line: Line, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from andon.surface.view import watch_feedback, watch_versions

    line.decide(*(decided(f"a{i}", i / 10) for i in range(10)))
    line.at(2)
    monkeypatch.setattr(watch_versions, "MOST_ROWS", 4)
    monkeypatch.setattr(watch_feedback, "MOST_ROWS", 4)
    line.forget()
    twin = ann.twin("/watch/versions")
    assert (twin["total"], twin["cut"], twin["span"]["since_us"]) == (4, True, BEGIN + 6 * HOUR // 10)
    assert "only the newest decisions" in ann.page("/watch/versions")
    came = ann.twin("/watch/feedback")
    assert (came["decisions"], came["cut_us"], came["shares"][0]["estimate"]["n"]) == (10, BEGIN + 6 * HOUR // 10, 4)
    assert "newest decisions only" in ann.page("/watch/feedback")


def test_addresses_may_hold_anything(ann: Person) -> None:
    for path in ("/watch/metrics/", "/watch/alarms/", "/watch/alarms/error/", "/decisions/"):
        for name in (HARM, "%", "%2F", "...", "\u202e", "a" * 3000, "{{1234*5678}}", "'; drop table"):
            answer = ann.ask("GET", path + quote(name, safe=""))
            assert answer.status_code in (400, 404), (path, name)
            assert HARM not in answer.text and "7006652" not in answer.text
