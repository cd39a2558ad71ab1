from __future__ import annotations

from pathlib import Path

from andon.measure.metric import metric_names

PAGE = Path(__file__).parents[2] / "docs" / "measure.md"


def test_the_page_names_every_metric() -> None:
    text = PAGE.read_text()
    assert [name for name in metric_names() if f"`{name}" not in text and name != "rows"] == []
