"""How far data may go: the table of ways out, walked."""

from __future__ import annotations

import http.server
import ipaddress
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.core.reach import WAYS, Reach, inside, is_loopback
from andon.core.record import Stays
from andon.errors import AndonError
from andon.model.remote_line import may_go_to
from andon.monitor.notify import Notice, Notifier, check_targets
from andon.monitor.sink import check_sink
from andon.surface.load import Wish, _confirmed
from andon.surface.replay import check_target

HOSTS = ("collector.example.org", "203.0.113.7")
#: (host, how far it is)
PLACES = (
    ("127.0.0.1", "device"),
    ("localhost", "device"),
    ("::1", "device"),
    ("10.1.2.3", "organisation"),
    ("192.168.7.7", "organisation"),
    ("fd00::7", "organisation"),
    ("203.0.113.7", "named"),
    ("collector.example.org", "named"),
    ("Collector.Example.ORG", "named"),
    ("evil.collector.example.org", "anywhere"),
    ("8.8.8.8", "anywhere"),
    ("127.0.0.1.example.org", "anywhere"),
    ("localhost.example.org", "anywhere"),
    ("10.0.0.1.nip.io", "anywhere"),
    ("169.254.169.254", "anywhere"),
    ("100.64.0.1", "anywhere"),
    ("2001:db8::1", "anywhere"),
)


def _url(host: str) -> str:
    return f"http://[{host}]:9/in" if ":" in host else f"http://{host}:9/in"


def _remote(host: str, stays: Stays) -> None:
    address = host if _is_address(host) else "8.8.8.8"  # a name leads anywhere
    may_go_to("127.0.0.1" if host == "localhost" else address, _url(host), stays, HOSTS)


def _load(host: str, stays: Stays) -> None:
    privacy = SimpleNamespace(stays=stays, hosts=HOSTS)
    project: Any = SimpleNamespace(charter=SimpleNamespace(checklist=SimpleNamespace(privacy=privacy)))
    address = host if _is_address(host) else "127.0.0.1" if host == "localhost" else "8.8.8.8"  # a name leads anywhere
    _confirmed(project, Wish(elsewhere=True), host, address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


#: How each way out asks, and the places that it refuses beyond the rule: events and remote models leave no device at all.
CHECKS: dict[str, Callable[[str, Stays], Any]] = {
    "events": lambda host, stays: check_sink(_url(host), stays, HOSTS),
    "remote model": _remote,
    "load": _load,
    "replay": lambda host, stays: check_target(_url(host), Reach(stays, HOSTS)),
    "notices": lambda host, stays: check_targets([_url(host)], stays),
}
STRICT = {"events", "remote model"}
ALLOWED: dict[Stays, set[str]] = {
    "device": {"device"},
    "organisation": {"device", "organisation", "named"},
    "anywhere": {"device", "organisation", "named", "anywhere"},
}


def test_every_way_out_is_walked_and_told() -> None:
    assert {way.name for way in WAYS} == set(CHECKS)
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()
    for way in WAYS:
        assert f"| {way.name} | {way.carries} |" in page


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("stays", get_args(Stays))
@pytest.mark.parametrize(("host", "place"), PLACES)
def test_each_way_out_goes_as_far_as_the_charter_lets_it(way: Any, stays: Stays, host: str, place: str) -> None:
    may = place in ALLOWED[stays]
    if stays == "organisation" and not way.cases:
        may = True  # figures and times only
    if way.name in STRICT and stays == "device":
        may = False
    if may:
        CHECKS[way.name](host, stays)
    else:
        with pytest.raises(AndonError, match="stays"):
            CHECKS[way.name](host, stays)


@given(st.ip_addresses())
def test_an_address_is_inside_as_its_network_says(address: Any) -> None:
    assert is_loopback(str(address)) <= inside(str(address))
    assert Reach("anywhere").allows(str(address))
    assert Reach("device").allows(str(address)) == is_loopback(str(address))
    assert Reach("organisation").allows(str(address)) == inside(str(address))


@given(st.text(max_size=30))
def test_a_text_that_is_no_address_is_inside_only_by_name(text: str) -> None:
    assert inside(text) in (True, False)
    assert Reach("organisation", (text,)).allows(text)


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(307)
        self.send_header("location", "/moved")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), _Elsewhere)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_notice_follows_no_redirect_and_no_proxy(elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    notifier = Notifier([f"http://127.0.0.1:{elsewhere.server_address[1]}/hook"], stays="device")
    notifier.add(Notice("t", "b", "a", 0))
    (told,) = notifier.flush()
    assert (told.ok, told.detail.partition(" ")[0]) == (False, "HTTPError")
    assert elsewhere.asked == ["/hook"]
