"""An owner asks why: why an alarm rang, why a case was decided so, who did what; and a newcomer asks what to do next."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.board.browser.conftest import Walker
from tests.board.conftest import Workshop
from tests.board.served import Served

from andon.surface.catalog import PAGES

PLAIN = [page.path for page in PAGES if "{" not in page.path and page.name not in ("review.case", "models.compare")]


def test_from_the_line_to_an_alarm_s_story_to_the_cases_behind_it(board: Served, walk: Callable[..., Walker]) -> None:
    owner = walk(board, "owner")
    page = owner.open("/")
    page.locator("#needs li", has_text="alarm error").get_by_role("link").first.click()
    assert page.url.startswith(board.url + "/watch/alarms/error")
    story = page.inner_text("main")
    assert "error is 8" in story and "45 %" in story, "what was measured and the bound it broke"
    assert page.locator("#story li").count() > 0
    page.get_by_role("link", name="these decisions").click()
    assert page.locator("tbody tr").count() > 0, "the cases of the window in which it rang"
    page.locator("tbody tr a[href^='/decisions/']").first.click()
    why = page.inner_text("main")
    assert "Why it went there" in why and "Its life" in why and "olga" in why, "by whose route it was decided"


def test_a_person_s_case_says_who_decided_it(board: Served, walk: Callable[..., Walker]) -> None:
    page = walk(board, "owner").open("/decisions?by=person")
    page.locator("tbody tr a[href^='/decisions/']").first.click()
    told = page.inner_text("main")
    assert "decided" in told and any(who in told for who in ("maria", "simulated operator", "tom"))


def test_the_journal_says_who_did_what_and_that_nothing_was_taken_out(
    board: Served, walk: Callable[..., Walker]
) -> None:
    page = walk(board, "owner").open("/journal")
    told = page.inner_text("main")
    assert "only steam" in told and "olga" in told
    page.get_by_role("link", name="Verify the chain").or_(page.get_by_role("button", name="Verify the chain")).click()
    page.wait_for_load_state()
    assert "whole" in page.inner_text("body").lower()


@pytest.fixture
def fresh(new_project: Workshop, serve: Callable[[Workshop], Served]) -> Served:
    return serve(new_project)


def test_a_newcomer_reads_on_every_page_what_to_do_next(fresh: Served, walk: Callable[..., Walker]) -> None:
    """Right after `andon init` nothing is there yet: no page is empty-handed, and none pretends."""
    newcomer = walk(fresh, "owner")
    silent = []
    for path in PLAIN:
        page = newcomer.open(path)
        told = page.inner_text("main")
        commands = page.locator("main code", has_text="andon").count()
        if not commands and page.locator("main .next").count() == 0:
            silent.append(f"{path}: {told[:200]}")
        assert "None" not in told and "nan" not in told.lower().split(), path
    assert silent == []
    first = newcomer.open("/").inner_text("main")
    assert "andon data add" in first and "andon up" in first


def test_on_a_running_line_the_first_page_says_what_needs_a_person(board: Served, walk: Callable[..., Walker]) -> None:
    page = walk(board, "owner").open("/")
    assert page.locator(".station .next").count() == 5
    wanted = page.locator("#needs li")
    assert wanted.count() >= 2
    for index in range(wanted.count()):
        link = wanted.nth(index).get_by_role("link")
        assert link.count() == 1, wanted.nth(index).inner_text()
