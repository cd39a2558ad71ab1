"""What the running line took, and what an edit of the file changes: told key by key, and only what really differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from andon.errors import Conflict, UsageError
from andon.scope.change import changes, effect_of, leaves, spelled
from andon.scope.charter import Charter, examine, load, parse, schema
from andon.scope.fault import MAX_BYTES
from andon.scope.section import Section
from andon.scope.taken import COPY, keep, taken

TEXT = """\
project: line
inputs: {width: float, worn: bool?}
target: {name: verdict, classes: [accept, reject], delay: 2d}
safe_default: refer
metrics: {error: {of: error_rate, goal: "<= 0.2"}}
slices: {wide: width > 3, narrow: width < 1}
automation: {slices: {wide: human, narrow: full}}
"""


def changed(old: str, new: str, text: str = TEXT) -> list[tuple[str, str | None, str | None]]:
    assert old in text
    return [(one.key, one.before, one.after) for one in changes(parse(text), parse(text.replace(old, new)))]


def test_what_was_taken_is_kept_byte_for_byte(tmp_path: Path) -> None:
    assert taken(tmp_path) is None
    source = tmp_path / "andon.yaml"
    source.write_text(TEXT + "# a comment, ü\n")
    kept = keep(tmp_path, source, load(source))
    assert (tmp_path / COPY).read_bytes() == source.read_bytes()
    found = taken(tmp_path)
    assert found == kept
    assert found.charter() == load(source)
    assert found.wall_us > 1_600_000_000_000_000


def test_a_file_that_changed_in_between_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "andon.yaml"
    source.write_text(TEXT)
    before = load(source)
    source.write_text(TEXT.replace("0.2", "0.3"))
    with pytest.raises(Conflict, match="changed while it was being taken"):
        keep(tmp_path, source, before)
    source.unlink()
    with pytest.raises(UsageError, match=r"cannot read the charter andon\.yaml: no such file"):
        keep(tmp_path, source, before)
    assert taken(tmp_path) is None


def test_a_copy_that_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / COPY).write_bytes(b"project: \xff")
    with pytest.raises(UsageError, match=r"not UTF-8 text \(byte 9\)"):
        taken(tmp_path)
    (tmp_path / COPY).write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="at most"):
        taken(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_copy_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / COPY).write_text(TEXT)
    (tmp_path / COPY).chmod(0)
    with pytest.raises(UsageError, match="permission denied"):
        taken(tmp_path)


def test_a_changed_value_is_one_line_in_the_words_of_the_file() -> None:
    assert changed("delay: 2d", "delay: 36h") == [("target.delay", "2d", "36h")]
    assert changed("<= 0.2", "<= 0.25") == [("metrics.error.goal", "<= 0.2", "<= 0.25")]
    assert changed("bool?", "bool") == [("inputs.worn", "bool?", "bool")]
    assert changed("[accept, reject]", "[reject, accept]") == [
        ("target.classes", "[accept, reject]", "[reject, accept]")
    ]


def test_every_duration_is_told_as_one() -> None:
    def durations(part: type[Section], before: str = "") -> Iterator[str]:
        for name, field in part.model_fields.items():
            if name.endswith("_us"):
                yield f"{before}{field.alias}"
            elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                yield from durations(field.annotation, f"{before}{field.alias or name}.")

    assert "review.undo" in (found := list(durations(Charter)))
    assert {key: spelled(key, 3_600_000_000) for key in found} == dict.fromkeys(found, "1h")


def test_what_comes_and_goes_is_told_with_everything_in_it() -> None:
    gone = {key: (before, after) for key, before, after in changed('{error: {of: error_rate, goal: "<= 0.2"}}', "{}")}
    assert gone["metrics.error.of"] == ("error_rate", None)
    assert all(after is None and key.startswith("metrics.error.") for key, (_, after) in gone.items())
    came = changed("safe_default: refer\n", "safe_default: refer\nrisks: [{what: it is wrong, shows_in: [error]}]\n")
    name = 'risks["it is wrong"]'
    assert came == [(f"{name}.what", None, "it is wrong"), (f"{name}.shows_in", None, "[error]")]


def test_an_entry_put_before_others_does_not_change_them() -> None:
    text = TEXT + "risks: [{what: a, shows_in: [error]}, {what: b}, {what: b, shows_in: [error]}]\n"
    before, after = parse(text), parse(text.replace("[{what: a", "[{what: c}, {what: a"))
    assert [(one.key, one.after, one.place) for one in changes(before, after)] == [
        ('risks["c"].what', "c", "risks[0].what")
    ]
    assert [one.place for one in changes(after, before)] == [""]
    long = parse(text.replace("what: a,", f"what: {'w' * 200},"))
    assert f'risks["{"w" * 39}…"].what' in [one.key for one in changes(before, long)]


def test_what_is_gone_is_told_beside_its_neighbours() -> None:
    text = TEXT.replace("\nslices: {wide", "\nslices: {tall: width > 9, wide").replace("refer\n", "refer\nowner: ann\n")
    assert [one.key for one in changes(parse(text), parse(TEXT))] == ["owner", "slices.tall"]


def test_only_a_difference_that_means_something_is_one() -> None:
    assert changed("safe_default: refer\n", "safe_default:   refer   # a comment\nreview: {deadline: 60m}\n") == []
    assert changed("wide: width > 3, narrow: width < 1", "narrow: width < 1, wide: width > 3") == []


def test_an_order_that_means_something_is_told() -> None:
    assert changed("width: float, worn: bool?", "worn: bool?, width: float") == [
        ("inputs (order)", "width, worn", "worn, width")
    ]
    assert changed("wide: human, narrow: full", "narrow: full, wide: human") == [
        ("automation.slices (order)", "wide, narrow", "narrow, wide")
    ]


def test_every_key_has_an_effect_and_the_longest_counts() -> None:
    for key in leaves(parse(TEXT)):
        effect = effect_of(key)
        assert effect.commands or effect.line, key
    assert effect_of("alarms.notify").line.startswith("the controller")
    assert effect_of("checklist.logging.retain_days").line.startswith("the controller deletes")
    assert effect_of("checklist.mode").line == "nothing acts on it in this release"
    assert effect_of("inputs (order)") == effect_of("inputs.width")
    assert effect_of("metricsx.y").key == ""
    assert effect_of("checklist.logging.events").line.startswith("the controller sends")
    assert effect_of("review.undo").line.startswith("the board") and effect_of("board.port").line


def test_effects_name_keys_that_there_are() -> None:
    from andon.scope.change import _EFFECTS

    def keys(value: dict[str, Any], path: str = "") -> Iterator[str]:
        for key, item in value.items():
            yield f"{path}{key}"
            yield from keys(item, f"{path}{key}.") if isinstance(item, dict) else ()

    known = {*keys(parse(TEXT).to_dict()), *schema()["properties"], ""}
    assert [effect.key for effect in _EFFECTS if effect.key not in known] == []


def test_examine_tells_every_fault_with_its_line_and_key() -> None:
    charter, faults = examine(TEXT.replace("bool?", "boool").replace("<= 0.2", "under"))
    assert [(fault.line, fault.path) for fault in faults] == [(2, "inputs.worn"), (5, "metrics.error.goal")]
    assert not isinstance(charter, Charter)
    sound, none = examine(TEXT)
    assert sound == parse(TEXT)
    assert none == []
    assert examine("")[1][0].sentence.endswith("found an empty file")
