"""The keyboard reaches everything, in the order in which it is read, and one sees where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.board.atlas import Atlas
from tests.board.browser.conftest import Walker
from tests.board.served import Served

#: Everything that can be acted on and is shown, in the order of the page; a closed <details> hides what is in it.
PRESSABLE = """() => {
  const all = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  window.pressable = [...document.querySelectorAll(all)].filter(one =>
    !one.disabled && one.tabIndex >= 0 && one.checkVisibility({checkVisibilityCSS: true}) && !one.closest('[inert]'));
  return window.pressable.length;
}"""
AT = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  return [window.pressable.indexOf(one), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
          one.outerHTML.slice(0, 160)];
}"""


@pytest.mark.parametrize(
    "name", ["line", "deploy", "review", "watch", "watch.alarm", "decisions", "models", "settings"]
)
def test_tab_reaches_everything_in_order_and_is_seen(
    board: Served, walk: Callable[..., Walker], addresses: Atlas, name: str
) -> None:
    page = walk(board, "owner").open(addresses.pages[name][0])
    count = page.evaluate(PRESSABLE)
    assert count > 12
    reached: list[int] = []
    unseen: list[str] = []
    # A field for a date has several stops of its own.
    for _ in range(3 * count):
        page.keyboard.press("Tab")
        index, seen, what = page.evaluate(AT)
        if not reached or reached[-1] != index:
            reached.append(index)
            unseen += [] if seen else [what]
        if len(reached) == min(count, 100):
            break
    assert reached == list(range(len(reached))), page.evaluate("i => window.pressable[i].outerHTML", _gap(reached))
    assert unseen == []


def _gap(reached: list[int]) -> int:
    """The first thing that the keyboard did not come to."""
    return next((place for place, index in enumerate(reached) if place != index), 0)


def test_the_first_key_leads_past_the_tabs(board: Served, walk: Callable[..., Walker]) -> None:
    page = walk(board, "owner").open("/watch")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_whole_stop_by_keyboard(floor: Served, walk: Callable[..., Walker]) -> None:
    operator = walk(floor, "operator")
    page = operator.open("/")
    for word, reason in (("Stop the line", "smoke"), ("Start the line", "gone")):
        _press_until(operator, word)
        page.keyboard.press("Enter")
        page.wait_for_selector("form.stack")
        _press_until(operator, "", "TEXTAREA")
        page.keyboard.type(reason)
        _press_until(operator, word, "BUTTON")
        page.keyboard.press("Enter")
        page.wait_for_selector(".banner.note")
    assert "Stop the line" in page.inner_text("#cord")


def _press_until(walker: Walker, text: str, tag: str = "A") -> None:
    """Press Tab until something with this text has the focus."""
    for _ in range(80):
        walker.page.keyboard.press("Tab")
        found = walker.page.evaluate("[document.activeElement.tagName, document.activeElement.innerText || '']")
        if found[0] == tag and text in found[1]:
            return
    raise AssertionError(f"the keyboard does not come to {text!r}")
