"""A rollout's page in a real browser, with rollouts that were: sound in both lights, narrow, still, and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.board.browser.conftest import Walker
from tests.board.browser.test_every_page import PLACE, looked_at
from tests.board.conftest import Workshop
from tests.board.served import Served
from tests.board.workshop import copy_of, give_tokens


def test_the_race_is_sound_and_reads_without_javascript(
    walk: Callable[..., Walker], serve: Callable[[Workshop], Served], rolled_project: Path, tmp_path: Path
) -> None:
    root = copy_of(rolled_project, tmp_path / "rolled")
    board = serve(Workshop(root, give_tokens(root)))
    walker = walk(board, "owner", **PLACE)
    wrong = [fault for name in ("v3%232", "v2%233") for fault in looked_at(walker, f"/deploy/rollout?name={name}")]
    assert wrong == [], "\n".join(wrong)
    plain = walk(board, "viewer", java_script_enabled=False, viewport={"width": 700, "height": 900})
    page = plain.open("/deploy/rollout?name=v3%232")
    assert page.locator("#races svg.chart").count() == 2 and page.locator("#share svg.chart").count() == 1
    page.get_by_role("link", name="over units").click()
    assert page.locator("#races text", has_text="units").count() >= 2
    page.get_by_role("navigation", name="Rollouts").get_by_role("link", name="v2#1").click()
    assert "Rollout v2#1" in page.inner_text("h1")
    page.locator("#steps tbody a").first.click()
    assert "/journal" in page.url
