"""The other ways in: TLS at the port, a Unix socket beside it, both by several workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.deploy.line_rig import DECISIONS, Line

from andon.deploy.doors import Door, bound_path, leave_path, shared_server
from andon.deploy.tls import proved, renew, server_context, valid_until
from andon.errors import Conflict, UsageError

FILES = Path(__file__).parent / "tls"
CERT, KEY = FILES / "cert.pem", FILES / "key.pem"
ASK = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_certificate_that_can_be_used_is_valid_until_its_day() -> None:
    assert valid_until(proved(str(CERT), str(KEY))) == "01 Jan 2126 00:00 UTC"
    context = server_context(str(CERT), str(KEY))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("none", "key", "the certificate .*none.pem is not there"),
        ("cert", "none", "the key .*none.pem is not there"),
        ("cert", "", "the key .* cannot be read"),
        ("cert", "other_key", "the key .*other_key.pem is not that of the certificate .*cert.pem"),
        ("cert", "ed_key", "the key .*ed_key.pem is of another kind than that of the certificate"),
        ("cert", "locked_key", "locked by a password"),
        ("key", "cert", "key.pem holds no certificate"),
        ("cert", "cert", "cert.pem holds no private key"),
        ("expired", "key", "expired.pem has expired"),
        ("later", "key", "later.pem is not valid yet"),
        ("client", "key", "clients would refuse .*client.pem: unsuitable"),
    ],
)
def test_a_certificate_or_key_at_fault_is_one_sentence(cert: str, key: str, words: str) -> None:
    files = [str(FILES / f"{name}.pem") if name else str(FILES) for name in (cert, key)]
    with pytest.raises(UsageError, match=f"--tls: .*{words}"):
        server_context(*files)


def test_files_that_are_no_pem_or_may_not_be_read(tmp_path: Path) -> None:
    der = tmp_path / "cert.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(CERT.read_text()))
    with pytest.raises(UsageError, match="holds no certificate in PEM form"):
        proved(str(der), str(KEY))
    broken = tmp_path / "broken.pem"
    broken.write_text(CERT.read_text().replace("M", "?", 3))
    with pytest.raises(UsageError, match="cannot be used"):
        proved(str(broken), str(KEY))
    if os.geteuid():
        broken.chmod(0)
        with pytest.raises(UsageError, match="may not be read by this user"):
            proved(str(broken), str(KEY))


class Tidy(asyncio.SelectorEventLoop):
    """A loop with the habit that loops have since Python 3.13."""

    async def create_unix_server(self, *given: Any, cleanup_socket: bool = True, **more: Any) -> Any:
        if cleanup_socket:
            Path(more["sock"].getsockname()).unlink()
        return await super().create_unix_server(*given, **more)


@pytest.mark.parametrize("made", [uvloop.new_event_loop, Tidy])
def test_a_worker_that_ends_leaves_the_socket_to_the_others(
    tmp_path: Path, made: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    path = tmp_path / "gateway.sock"
    bound = bound_path(path)

    async def serve_and_end() -> None:
        server = await shared_server(asyncio.get_running_loop(), asyncio.Protocol, bound.fileno())
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=made) as runner:
        runner.run(serve_and_end())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))  # the file is there, and the queue of the socket takes who comes
    leave_path(path, bound)
    assert not path.exists()


def test_a_certificate_that_cannot_be_renewed_leaves_the_one_before(tmp_path: Path) -> None:
    context = server_context(str(CERT), str(KEY))
    with pytest.raises(UsageError, match="is not that of"):
        renew(context, str(FILES / "next.pem"), str(KEY))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(CERT)
    to_us, to_them = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_them, to_us, server_hostname="localhost")
    right = context.wrap_bio(to_us, to_them, server_side=True)
    for _ in range(4):
        for side in (left, right):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert left.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(CERT.read_text())


def test_a_path_is_taken_with_narrow_rights_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    bound = bound_path(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(Conflict, match=r"another program listens at .*line\.sock"):
        bound_path(path)
    bound.close()  # as a kill would: the file stays
    bound = bound_path(path)
    leave_path(path, bound)
    assert not path.exists()
    leave_path(path, bound)  # a second time does nothing


def test_a_path_that_can_be_none_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("mine")
    with pytest.raises(UsageError, match=r"note\.txt is there already and is no socket"):
        bound_path(note)
    assert note.read_text() == "mine"
    with pytest.raises(UsageError, match=r"no socket can be made at .*\(No such file or directory\)"):
        bound_path(tmp_path / "none" / "line.sock")
    fits = tmp_path / ("s" * (107 - len(os.fsencode(tmp_path)) - 1))
    leave_path(fits, bound_path(fits))
    with pytest.raises(UsageError, match="too long for a socket, which may have 107 bytes"):
        bound_path(fits.with_name(fits.name + "s"))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    running = Line(tmp_path / "home")
    running.route(live="v1", bundles={"v1": running.seal()}, levels={"*": "full"})
    yield running
    running.close()


def until_end(client: socket.socket) -> bytes:
    found = b""
    while chunk := client.recv(1 << 16):
        found += chunk
    return found


def secured(line: Line) -> ssl.SSLSocket:
    client = ssl.create_default_context(cafile=str(line.workspace.home / "cert.pem"))
    client.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", line.port), timeout=15)
    return client.wrap_socket(plain, server_hostname="localhost")


def request(body: bytes, *more: bytes) -> bytes:
    head = [b"POST %s HTTP/1.1" % DECISIONS.encode(), b"Host: l", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def put(line: Line, cert: str, key: str) -> None:
    (line.workspace.home / "cert.pem").write_bytes((FILES / f"{cert}.pem").read_bytes())
    (line.workspace.home / "key.pem").write_bytes((FILES / f"{key}.pem").read_bytes())


@pytest.mark.line
def test_tls_by_two_workers_and_a_new_certificate_without_a_restart(line: Line) -> None:
    put(line, "cert", "key")
    line.door = Door(cert=str(line.workspace.home / "cert.pem"), key=str(line.workspace.home / "key.pem"))
    line.start()
    body = b'{"x": {"age": 95.0}}'
    with secured(line) as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3") and client.selected_alpn_protocol() == "http/1.1"
        client.sendall(request(body) * 40)  # pipelined
        data = b""
        while data.count(b'"decision":"positive"') < 40:
            data += client.recv(1 << 16)
        for byte in request(body, b"Connection: close"):
            client.sendall(bytes([byte]))
        assert until_end(client).startswith(b"HTTP/1.1 200 OK")
    with secured(line) as client:  # refused, and told so although the body is still on its way
        client.sendall(b"POST /v1 HTTP/1.1\r\nHost: l\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 200_000)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", line.port), timeout=15) as plain:
        plain.sendall(ASK)
        assert b"HTTP/1.1 200" not in until_end(plain)

    before = secured(line)
    for files, until in ((("next", "key"), "2126"), (("next", "other_key"), "2127")):  # not a pair; a pair
        put(line, *files)
        for process in line.processes.values():
            process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        put(line, *(("cert", "key") if until == "2126" else files))
        with secured(line) as client:
            assert until in str(client.getpeercert())
            client.sendall(ASK)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    before.sendall(ASK)
    assert before.recv(1 << 16).startswith(b"HTTP/1.1 200")  # who was there before stays
    before.close()
    assert line.kill(0, signal.SIGTERM) == 0


@pytest.mark.line
def test_a_unix_socket_of_two_workers_is_served_while_one_is_gone(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    bound = bound_path(path)
    line.door = Door(uds=bound.fileno())
    line.start()

    def ask(raw: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(15)
            client.connect(str(path))
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            return until_end(client)

    for number in range(20):
        body = msgspec.json.encode({"x": {"age": 5.0}, "id": f"case-{number}"})
        first = ask(request(body))
        assert first.startswith(b"HTTP/1.1 200 OK")
        assert ask(request(body)).partition(b"\r\n\r\n")[2] == first.partition(b"\r\n\r\n")[2]
    assert line.decide(5.0, id="case-3")[0] == 200  # the port is there, too
    line.kill(0)
    assert all(b'"live":true' in ask(ASK) for _ in range(10))
    line.start(0)
    assert line.kill(1, signal.SIGTERM) == 0 and path.exists()
    assert b'"live":true' in ask(ASK)
    line.kill(0)
    leave_path(path, bound)
