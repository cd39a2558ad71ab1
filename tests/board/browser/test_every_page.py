"""What holds on every page that links lead to: accessible in both lights, still, small, narrow, and nothing but text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from tests.board.atlas import Atlas
from tests.board.browser.conftest import Walker
from tests.board.served import Served

from andon.surface.catalog import PAGES

LARGEST = 200_000
AXE = Axe().axe_script
#: A table's rows are alike: the first few stand for all.
WHERE = {
    "include": [["html"]],
    "exclude": [["tbody tr:nth-child(n+5)"], ["ol li:nth-child(n+8)"], ["ul li:nth-child(n+12)"]],
}
#: What no page of ours has, and what a text that is not escaped would make.
STRANGE = """() => [...document.querySelectorAll(
  "img[src='x'], [onload], [onerror], [onclick], [style]:not(svg *), base, iframe, object, embed, script:not([src^='/static/']), a[href^='javascript:' i]"
)].map(one => one.outerHTML.slice(0, 120))"""
NAMES = [page.name for page in PAGES]
#: Who has JavaScript off sees UTC; elsewhere times are written anew, which must not move anything.
PLACE = {"timezone_id": "Asia/Kolkata", "locale": "en-GB", "viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def walker(browser: Browser, board: Served) -> Iterator[Walker]:
    """One person who looks at everything."""
    context = browser.new_context(**PLACE)  # type: ignore[arg-type]
    context.add_cookies([{"name": n, "value": v, "url": board.url} for n, v in board.session("owner").items()])
    made = Walker(context, board)
    yield made
    context.close()
    assert made.faults == []


def faults(page: Page, *rules: str) -> list[str]:
    """What axe finds serious or critical."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    found = page.evaluate("([where, how]) => axe.run(where, how)", [WHERE, options])["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def hang_over(page: Page) -> list[str]:
    """What is wider than the page; things that scroll by themselves may be as wide as they like."""
    script = """() => {
      const wide = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= wide) return [];
      const out = [];
      for (const one of document.body.querySelectorAll('*')) {
        const box = one.getBoundingClientRect();
        const scrolls = one.parentElement.closest('.scroll, svg') || getComputedStyle(one.parentElement).overflowX !== 'visible';
        if (box.right > wide + 1 && box.width > 0 && !scrolls) out.push(one.tagName + ' ' + one.getAttribute('class') + ' ' + Math.round(box.right));
      }
      return [`body ${document.documentElement.scrollWidth} > ${wide}`, ...out.slice(0, 6)];
    }"""
    found: list[str] = page.evaluate(script)
    return found


def looked_at(walker: Walker, address: str) -> list[str]:
    """Everything that is wrong with one address."""
    page, wrong = walker.page, []
    page.set_viewport_size(PLACE["viewport"])  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    walker.open(address)
    page.wait_for_load_state("load")
    size = len(page.context.request.get(walker.board.url + address).body())
    if size > LARGEST:
        wrong.append(f"{size} bytes")
    wrong += faults(page)
    page.emulate_media(color_scheme="dark")
    wrong += [f"dark: {fault}" for fault in faults(page, "color-contrast")]
    moved = page.evaluate("window.moved")
    if moved >= 0.02:
        wrong.append(f"the layout shifted by {moved:.3f}")
    page.set_viewport_size({"width": 360, "height": 740})
    wrong += [f"360 px: {one}" for one in hang_over(page)]
    forbidden = [*page.evaluate("window.forbidden"), *page.evaluate(STRANGE)]
    if forbidden or page.title() == "taken":
        wrong.append(f"a text was taken for something else: {forbidden} {page.title()}")
    return [f"{address}: {one}" for one in wrong]


@pytest.mark.parametrize("name", [*NAMES, "act"])
def test_a_page_is_sound(walker: Walker, addresses: Atlas, name: str) -> None:
    wrong = [fault for address in addresses.pages.get(name, [])[:1] for fault in looked_at(walker, address)]
    assert wrong == [], "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "act"])
def test_its_other_addresses_are_sound(walker: Walker, addresses: Atlas, name: str) -> None:
    wrong = [fault for address in addresses.pages.get(name, [])[1:12] for fault in looked_at(walker, address)]
    assert wrong == [], "\n".join(wrong)


def test_links_lead_to_every_page_and_to_nothing_else(addresses: Atlas) -> None:
    assert addresses.broken == []
    assert set(NAMES) - addresses.linked == set()


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/data/no-such-version", "/act/nothing"])
def test_pages_for_when_something_is_wrong_are_sound_too(walk: Callable[..., Walker], board: Served, path: str) -> None:
    someone = walk(board, None if path == "/login" else "viewer", **PLACE)
    page = someone.open(path, 200 if path == "/login" else 404)
    assert faults(page) == [] and page.evaluate("window.moved") < 0.02
    page.emulate_media(color_scheme="dark")
    assert faults(page, "color-contrast") == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert hang_over(page) == []
