"""What older releases stored stays readable: samples of every release, as they were written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from andon.core.record import Decision, Draft, Event, Feedback, Item, Prediction, Review, Route

#: (release, type, what it wrote, what is read today)
SAMPLES: list[tuple[str, Any, str, msgspec.Struct]] = [
    (
        "0.1.0 (items before answers could be held)",
        Item,
        '{"id":"case-1","kind":"decision","created_us":1,"due_us":9,"x":{"cough":true,"age":null},"state":"decided",'
        '"level":"shadow","suggestion":"negative","confidence":0.75,"risk":0.25,"holder":"maria","lease_until_us":7,'
        '"taken_us":5,"decision":"negative","decided_by":"person","reviewer":"maria","decided_us":6,"seconds":1.5,'
        '"simulated":true,"outboxed":true,"revision":3}',
        Item(
            "case-1",
            "decision",
            1,
            9,
            {"cough": True, "age": None},
            state="decided",
            level="shadow",
            suggestion="negative",
            confidence=0.75,
            risk=0.25,
            holder="maria",
            lease_until_us=7,
            taken_us=5,
            decision="negative",
            decided_by="person",
            reviewer="maria",
            decided_us=6,
            seconds=1.5,
            simulated=True,
            outboxed=True,
            revision=3,
        ),
    ),
    (
        "0.1.0",
        Item,
        '{"id":"a","kind":"audit","created_us":1,"due_us":9,"x":{},"state":"taken","holder":"maria","lease_until_us":7,'
        '"draft":{"decision":"refer","time_us":3,"until_us":5,"seconds":2.0},"skips":{"tom":2},"revision":2}',
        Item(
            "a",
            "audit",
            1,
            9,
            {},
            state="taken",
            holder="maria",
            lease_until_us=7,
            draft=Draft("refer", 3, 5, 2.0),
            skips={"tom": 2},
            revision=2,
        ),
    ),
    (
        "0.1.0",
        Review,
        '{"id":"a","decision":"refer","decided_by":"person","reviewer":"maria","time_us":7,"kind":"audit"}',
        Review("a", "refer", "person", "maria", 7, kind="audit"),
    ),
    ("0.1.0", Feedback, '{"id":"a","kind":"label","value":"negative"}', Feedback("a", "label", "negative")),
    ("0.1.0", Prediction, '{"id":"a","version":"v1","label":null}', Prediction("a", "v1", None)),
    (
        "0.1.0",
        Decision,
        '{"id":"a","time_us":1,"wall_us":2,"epoch":3,"x":{"cough":true},"status":"pending","decision":null,'
        '"decided_by":"nobody","level":"human","unit":"00ff"}',
        Decision("a", 1, 2, 3, {"cough": True}, "pending", None, "nobody", "human", unit="00ff"),
    ),
    (
        "0.1.0",
        Event,
        '{"action":"deploy.stop","subject":"line","actor":"ann","reason":"smoke","time_us":1,"wall_us":2,"sequence":4}',
        Event("deploy.stop", "line", "ann", "smoke", 1, 2, sequence=4),
    ),
    (
        "0.1.0",
        Route,
        '{"epoch":1,"time_us":2,"wall_us":3,"actor":"ann","action":"begin","reason":"new","levels":{"*":"human"}}',
        Route(1, 2, 3, "ann", "begin", "new", levels={"*": "human"}),
    ),
    (
        "0.1.0 (a rollout can be held)",
        Route,
        '{"epoch":4,"time_us":2,"wall_us":3,"actor":"ann","action":"hold","reason":"","live":"v1","candidate":"v2",'
        '"share":0.05,"salt":"v2@3","bundles":{"v1":"ab","v2":"cd"},"levels":{"*":"full"},"previous":2,"held":true}',
        Route(
            4,
            2,
            3,
            "ann",
            "hold",
            "",
            live="v1",
            candidate="v2",
            share=0.05,
            salt="v2@3",
            bundles={"v1": "ab", "v2": "cd"},
            levels={"*": "full"},
            previous=2,
            held=True,
        ),
    ),
]


@pytest.mark.parametrize(
    ("release", "kind", "text", "today"), SAMPLES, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_a_release_wrote_is_read(release: str, kind: Any, text: str, today: Any) -> None:
    assert msgspec.json.decode(text, type=kind) == today
    assert msgspec.json.decode(msgspec.json.encode(today), type=kind) == today


def test_an_older_reader_passes_over_what_it_does_not_know() -> None:
    newer = b'{"id":"a","decision":"refer","decided_by":"person","reviewer":"maria","time_us":7,"mood":"good"}'
    assert msgspec.json.decode(newer, type=Review).reviewer == "maria"
