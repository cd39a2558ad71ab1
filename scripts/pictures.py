"""Pictures of the board's pages for the documents: light, dark and on a phone, in docs/pictures/.

    python scripts/pictures.py [FOLDER]

FOLDER is a project to look at, such as one that a story left; without it the story ``screening`` is played first (about
a minute and a half). The project is copied, the copy's clock is set to the last thing that happened, and its board is
served and photographed with Chromium. One picture for each page of the catalog, in its order, then the lights and sizes.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 120_000
MOST_LOOKED_AT = 60
#: Name -> (width, the most height, light).
SHOTS = {"light": (1280, 1200, "light"), "dark": (1280, 1200, "dark"), "phone": (360, 1200, "light")}
#: Pages that no link leads to from elsewhere.
OUTSIDE = {"login": "/login"}


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("folder", nargs="?", type=Path, help="a project that a story left")
    asked.add_argument("--only", default="", help="only pages whose name begins so")
    given = asked.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started here is ended, too
    with tempfile.TemporaryDirectory() as scratch:
        left = given.folder or played(Path(scratch) / "story")
        project = Path(scratch) / left.name
        shutil.copytree(left, project, ignore=shutil.ignore_patterns("*.sock"))
        secret = settle(project)
        with served(project) as address, sync_playwright() as playwright:
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=chromium(), args=[*sandbox, "--hide-scrollbars"])
            PICTURES.mkdir(parents=True, exist_ok=True)
            context = browser.new_context(timezone_id="UTC", reduced_motion="reduce")
            for name, where in sorted(places(context, address, secret).items()):
                if name.startswith(given.only):
                    photograph(context, address + where, name)
            browser.close()


def played(folder: Path) -> Path:
    """The story, played to its end."""
    command = [sys.executable, "-m", "andon", "demo", "screening", "--folder", str(folder), "--port", str(free_port())]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return folder


def settle(project: Path) -> str:
    """Set the clock of a copied project to its journal's end; returns the secret of a token for looking at it."""
    from andon.config import open_project
    from andon.people.access import Access
    from andon.store.tokens import TokenFile

    opened = open_project(project)
    workspace = opened.workspace
    last = workspace.journal.latest(1)
    if last:
        workspace.clock.set(time_us=last[-1].time_us, rate=1.0)
    secret, _ = Access(TokenFile(workspace.home)).create("pictures", "owner", now_us=workspace.clock.wall())
    workspace.close()
    return secret


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The project's line and board; the board's address."""
    port, gateway = free_port(), free_port()
    where = ("--port", str(gateway), "--board-port", str(port), "--workers", "2")
    command = [sys.executable, "-m", "andon", "up", "--project", str(project), *where]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until_it_answers(f"{address}/login", process)
        until_it_answers(f"http://127.0.0.1:{gateway}/v2/health/ready", process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    sys.exit(f"nobody answers at {address}")


def places(context: BrowserContext, address: str, secret: str) -> dict[str, str]:
    """One address for each page of the catalog: the first that a link leads to, in the order of the tabs.

    A page that the story has nothing for is left out.
    """
    from andon.surface.catalog import PAGES

    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill("input[name=token]", secret)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/")
    plain = sorted(PAGES, key=lambda one: one.path.count("{"))
    patterns = {one.name: re.compile(re.sub(r"\{\w+\}", "[^/?]+", one.path) + r"(\?.*)?\Z") for one in plain}
    found = {one.name: one.path for one in PAGES if "{" not in one.path}
    waiting, seen = list(found.values()), set(found.values())
    for _ in range(MOST_LOOKED_AT):
        if not waiting or len(found) == len(PAGES):
            break
        page.goto(address + waiting.pop(0))
        for where in page.eval_on_selector_all("a[href^='/']", "all => all.map(one => one.getAttribute('href'))"):
            name = next((name for name, pattern in patterns.items() if pattern.match(where)), None)
            if name is not None and where not in seen:
                seen.add(where)
                # What is not known yet is looked at first: its links lead to more.
                waiting.insert(0 if name not in found else len(waiting), where)
                found.setdefault(name, where)
    page.close()
    return found | OUTSIDE


def photograph(context: BrowserContext, address: str, name: str) -> None:
    """One page in all lights and sizes."""
    page = context.new_page()
    for shot, (width, most, light) in SHOTS.items():
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=light)  # type: ignore[arg-type]
        page.goto(address)
        page.wait_for_load_state("load")
        page.wait_for_timeout(150)
        path = PICTURES / f"{name}-{shot}.webp"
        path.write_bytes(small(seen(page, width, most)))
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")
    page.close()


def seen(page: Page, width: int, most: int) -> Image.Image:
    """The page down to its end, or to ``most`` pixels."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(most, max(400, height))})
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def small(picture: Image.Image) -> bytes:
    """As WebP, as good as fits."""
    for quality in (60, 50, 40, 30, 20):
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= LARGEST:
            return out.getvalue()
    sys.exit(f"a picture does not fit into {LARGEST} bytes")


def chromium() -> str:
    named = os.environ.get("ANDON_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or sys.exit("no Chromium here: `scripts/machine` installs Debian's, or ANDON_CHROMIUM names one")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
