"""The Scope page: what it says is what the file, the copy that the line took and the database say, in every state of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.board.reader import Reader

from andon.config import Project, open_project
from andon.core.clock import HOUR
from andon.deploy.crew import process_began
from andon.measure.summary import Count
from andon.monitor.watch import AlarmWatch
from andon.scope.checklist import QUESTIONS
from andon.scope.taken import COPY, keep
from andon.store.routes import Ack
from andon.store.windows import WindowRow

CHARTER = """\
project: parts
problem: Which parts may leave?
inputs: {width: "float(0..30)", scratches: int?, coat: "category(zinc, none)?"}
target: {name: verdict, classes: [accept, reject], delay: 2d}
safe_default: refer
metrics:
  error: {of: error_rate, goal: "<= 0.2", critical: true}
  nulls: {of: null_outputs, alarm: "<= 0.1", then: people}
  spare: {of: "mean(width)"}
slices: {zinc: "coat = 'zinc'"}
risks:
  - {what: it is wrong, shows_in: [error]}
  - {what: it says nothing, shows_in: [nulls]}
  - {what: nobody looks}
alarms: {notify: ["https://user:geheim@hooks.example.org/token"]}
review: {deadline: 4h, double_share: 0.1}
monitor: {window: 1h}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    return tmp_path


@contextmanager
def client(root: Path) -> Iterator[Reader]:
    project = open_project(root)
    try:
        yield Reader(project)
    finally:
        project.workspace.close()


def look(root: Path) -> tuple[dict[str, Any], str]:
    """The JSON twin and the page."""
    with client(root) as board:
        return board.both("/scope")


def start_line(root: Path) -> None:
    """As `andon up` does with the charter."""
    project = open_project(root)
    keep(project.workspace.home, root / "andon.yaml", project.charter)
    project.workspace.close()


def edit(root: Path, *pairs: tuple[str, str]) -> None:
    text = (root / "andon.yaml").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (root / "andon.yaml").write_text(text)


def test_a_line_that_never_ran_says_so(root: Path) -> None:
    view, page = look(root)
    assert view["file"]["valid"] is True
    assert view["file"]["taken"] is None
    assert view["file"]["changes"] == []
    assert "never started" in view["file"]["sentence"]
    assert "never started" in page
    assert view["goals"]["release"] is None
    assert [row["live"]["figure"]["reason"] for row in view["goals"]["rows"]] == ["nothing was measured yet"] * 3


def test_what_was_taken_and_not_touched_is_the_same(root: Path) -> None:
    start_line(root)
    view, page = look(root)
    assert view["file"]["taken"]["same"] is True
    assert view["file"]["hash"] == view["file"]["taken"]["hash"]
    assert "byte for byte" in page
    edit(root, ("project: parts", "project:   parts   # the shop"))
    view, _ = look(root)
    assert (view["file"]["taken"]["same"], view["file"]["changes"]) == (False, [])
    assert "but says the same" in view["file"]["sentence"]


def test_every_edit_is_told_by_key_with_its_line_and_when_it_is_felt(root: Path) -> None:
    start_line(root)
    edit(root, ("<= 0.2", "<= 0.25"), ("deadline: 4h", "deadline: 2h"), ("  - {what: nobody looks}\n", ""))
    view, page = look(root)
    told = {change["key"]: change for change in view["file"]["changes"]}
    assert list(told) == ["metrics.error.goal", 'risks["nobody looks"].what', "review.deadline"]
    goal = told["metrics.error.goal"]
    assert (goal["before"], goal["after"], goal["line"]) == ("<= 0.2", "<= 0.25", 7)
    assert "`andon release` judges" in goal["commands"]
    assert (told["review.deadline"]["before"], told["review.deadline"]["after"]) == ("4h", "2h")
    assert told['risks["nobody looks"].what']["after"] is None
    assert "<del>&lt;= 0.2</del>" in page and "<ins>&lt;= 0.25</ins>" in page
    assert "3 things otherwise" in view["file"]["sentence"]


def test_a_running_line_is_shown_as_it_runs_not_as_the_file_wishes(root: Path) -> None:
    start_line(root)
    edit(root, ("safe_default: refer", "safe_default: scrap"))
    words, _ = look(root)
    assert "scrap" in _clause(words, "safe_default")["text"]
    project = open_project(root)
    ack = Ack("w0", os.getpid(), 1, began=process_began(os.getpid()))
    project.workspace.routes.acknowledge("w0", ack)
    project.workspace.close()
    words, page = look(root)
    assert words["file"]["running"] is True
    assert words["shown"] == "the charter that the running line took"
    assert "refer" in _clause(words, "safe_default")["text"]
    assert "the running line took" in page


def _clause(view: dict[str, Any], key: str) -> dict[str, Any]:
    clauses = [clause for part in view["charter"]["parts"] for clause in part["clauses"] if clause["key"] == key]
    assert len(clauses) == 1
    found: dict[str, Any] = clauses[0]
    return found


def test_all_faults_are_told_and_the_rest_of_the_page_stays(root: Path) -> None:
    start_line(root)
    project = open_project(root)
    edit(root, ("int?", "itn?"), ("<= 0.1", "under"))
    view, page = Reader(project).both("/scope")
    assert [(fault["line"], fault["key"]) for fault in view["file"]["faults"]] == [
        (3, "inputs.scratches"),
        (8, "metrics.nulls.alarm"),
    ]
    assert view["file"]["valid"] is False and view["file"]["changes"] == [] and view["state"] == "stop"
    assert "did you mean" in page and "because the file has faults" in page
    assert [row["metric"] for row in view["goals"]["rows"]] == ["error", "nulls", "spare"]
    project.workspace.close()


@pytest.mark.parametrize(
    ("data", "key", "sentence"),
    [
        (b"project: \xff", "", "andon.yaml is not UTF-8 text (byte 9); save it as UTF-8"),
        (b"{[}", "", "this is not YAML"),
        (b"", "", "found an empty file"),
        (None, "", "cannot read the charter andon.yaml: no such file or directory"),
        (CHARTER.replace("https://user:geheim@", "foo://").encode(), "alarms.notify", "apprise does not understand the foo:// address"),
        (CHARTER.encode() + b"checklist: {logging: {events: 'ftp://x'}}\n", "checklist.logging.events", "expected an address like http"),
        (b"#" * (2 << 20), "", "expected a charter of at most 1048576 bytes, found more"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_charter_is_one_sentence(root: Path, data: bytes | None, key: str, sentence: str) -> None:
    project = open_project(root)
    (root / "andon.yaml").unlink()
    if data is not None:
        (root / "andon.yaml").write_bytes(data)
    view, page = Reader(project).both("/scope")
    (fault,) = view["file"]["faults"]
    assert fault["key"] == key and sentence in fault["sentence"]
    assert "as this board read it when it started" in page  # there is no copy either
    project.workspace.close()


def test_a_copy_that_is_of_no_use_is_said_and_nothing_else_suffers(root: Path) -> None:
    start_line(root)
    (root / ".andon" / COPY).write_text("project: [")
    view, _ = look(root)
    assert "does not understand it any more" in view["file"]["taken"]["fault"]
    assert "cannot be compared" in view["file"]["sentence"]
    (root / ".andon" / COPY).write_bytes(b"\xff")
    view, _ = look(root)
    assert "UTF-8" in view["file"]["taken"]["fault"]


def test_addresses_keep_their_secrets_in_words_questions_and_edits(root: Path) -> None:
    start_line(root)
    edit(root, ("geheim", "neu"))
    view, page = look(root)
    assert [change["key"] for change in view["file"]["changes"]] == ["alarms.notify"]
    for text in (page, str(view)):
        assert "https://hooks.example.org" in text
        assert "geheim" not in text and "neu@" not in text and "example.org/" not in text


def test_every_question_stands_with_its_answer_and_what_is_left_is_marked(root: Path) -> None:
    view, page = look(root)
    rows = {row["key"]: row for row in view["questions"]["rows"]}
    assert list(rows) == [question.key for question in QUESTIONS]
    assert (rows["review.deadline"]["answer"], rows["review.deadline"]["state"]) == ("4h", "good")
    assert rows["review.deadline"]["line"] == 16
    assert rows["owner"]["state"] == "look" and rows["owner"]["answered"] is False
    assert rows["baselines"]["state"] == "idle"
    assert rows["metrics"]["answer"] == "3 metrics"
    assert rows["review.deadline"]["test"].startswith("tests/")
    assert view["questions"]["left"] == sum(row["state"] == "look" for row in rows.values())
    assert "the inbox has the charters policy" in page


def test_risks_have_their_state_and_both_gaps_are_listed(root: Path) -> None:
    view, page = look(root)
    assert [(row["what"], row["word"]) for row in view["risks"]["rows"]] == [
        ("it is wrong", "seen, but nothing rings"),
        ("it says nothing", "watched"),
        ("nobody looks", "no metric"),
    ]
    assert view["risks"]["without_metric"] == ["nobody looks"]
    assert view["risks"]["metrics_without_risk"] == ["spare"]
    assert "Metrics that no risk explains" in page


def ring(project: Project) -> None:
    workspace = project.workspace
    workspace.clock.set(time_us=10 * HOUR, rate=0.0)
    workspace.windows.replace([WindowRow("nulls", "", 8 * HOUR, HOUR, Count(100, 50, 100, 100))])
    AlarmWatch(workspace, project.charter).look()


def test_an_alarm_that_rings_is_where_its_metric_and_its_risk_are(root: Path) -> None:
    project = open_project(root)
    ring(project)
    project.workspace.close()
    view, page = look(root)
    row = next(row for row in view["goals"]["rows"] if row["metric"] == "nulls")
    assert (row["live"]["state"], row["live"]["word"], row["live"]["verdict"]) == ("stop", "rings", "fail")
    assert row["live"]["figure"]["value"] == 0.5 and row["live_us"] == 8 * HOUR
    assert row["alarm_text"] == "<= 10 %" and row["then"] == "people"
    assert view["risks"]["rows"][1]["word"] == "nulls rings"
    assert view["state"] == "stop"
    assert "then people decide" in page and "≤ 10 %" in page


def test_with_the_database_gone_the_charter_is_still_there(root: Path) -> None:
    start_line(root)
    (root / ".andon" / "andon.db").rename(root / ".andon" / "elsewhere.db")
    view, page = look(root)
    assert "andon.db" in view["trouble"] and "Not everything is known now" in page
    assert "not known now" in view["goals"]["says"]
    assert [row["live"]["word"] for row in view["goals"]["rows"]] == ["not known now"] * 3
    assert _clause(view, "problem")["text"] == "Which parts may leave?"
    assert "byte for byte" in view["file"]["sentence"]


def test_the_charter_in_words_has_its_lines_and_says_what_is_a_default(root: Path) -> None:
    edit(root, ("double_share: 0.1}", "double_share: 0.1}\nretrain: {mode: automatic}"))
    view, page = look(root)
    assert _clause(view, "target.truth") == {
        "key": "target.truth",
        "text": "What is true is seen afterwards, up to 2 days later.",
        "line": None,
        "acts": True,
    }
    assert _clause(view, "problem")["line"] == 2
    assert _clause(view, "review.double_share")["acts"] is True
    assert _clause(view, "retrain.mode")["acts"] is False
    fields = {row["name"]: row for row in view["charter"]["inputs"]}
    assert (fields["width"]["low"], fields["width"]["high"], fields["width"]["line"]) == (0.0, 30.0, 3)
    assert fields["coat"]["categories"] == ["zinc", "none"] and fields["coat"]["optional"] is True
    assert view["charter"]["slices"] == [{"name": "zinc", "condition": "coat = 'zinc'", "level": None, "line": 10}]
    assert "0 to 30" in page and "zinc, none" in page


HARM = "<img src=x onerror=alert(1)>"


def test_texts_that_mean_harm_stay_texts(root: Path) -> None:
    start_line(root)
    edit(
        root,
        ("problem: Which parts may leave?", f"problem: '{HARM}'\nowner: '{HARM} \u202e rtl'"),
        ("what: it is wrong", f"what: '{HARM} {'w' * 3000}'"),
        ("classes: [accept, reject]", f"classes: [accept, '{HARM}']"),
        ("category(zinc, none)", f"category(zinc, {HARM})"),
    )
    view, page = look(root)
    assert HARM in _clause(view, "problem")["text"]
    assert HARM not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    edit(root, ("project: parts", f"project: parts\n'{HARM}': 1"))
    view, page = look_at_faults(root)
    assert HARM in view["file"]["faults"][0]["key"] and HARM not in page


def look_at_faults(root: Path) -> tuple[dict[str, Any], str]:
    """A board that was opened before the file was broken."""
    broken = (root / "andon.yaml").read_text()
    (root / "andon.yaml").write_text(CHARTER)
    with client(root) as board:
        (root / "andon.yaml").write_text(broken)
        return board.get("/api/v1/scope").json(), board.get("/scope").text
