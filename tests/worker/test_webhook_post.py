"""One try to deliver a webhook, against real and hostile receivers on the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from domain import webhook_secrets
from domain.webhook_deliveries import Claimed, Outcome
from tests import hooks
from worker import webhook_post
from worker.webhook_lookups import Address, Lookups, Resolve

pytestmark = pytest.mark.usefixtures("settings")
SECRET = b"s" * 32
PAYLOAD = '{"type":"job.succeeded","data":{"name":"größe"}}'


def claimed(url: str) -> Claimed:
    endpoint_id = uuid4()
    return Claimed(
        delivery_id=uuid4(),
        endpoint_id=endpoint_id,
        project_id=uuid4(),
        url=url,
        message_id="evt_01kax6m3n4p5q6r7s8t9v0w1x2",
        payload=PAYLOAD,
        sealed=(webhook_secrets.seal(SECRET, endpoint_id=endpoint_id),),
    )


def deliver(url: str, *, resolve: Resolve | None = None, private: bool = True) -> Outcome:
    async def once() -> Outcome:
        chosen = resolve or Lookups().of(uuid4())
        return await webhook_post.deliver(claimed(url), allow_private=private, resolve=chosen)

    return asyncio.run(once())


def to(*addresses: str) -> Resolve:
    """A resolver that always gives these addresses."""

    async def resolve(_host: str, _port: int) -> Sequence[Address]:
        return [ip_address(address) for address in addresses]

    return resolve


@contextmanager
def raw_server(behave: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[int]]]:
    """A TCP server's port, and a list that gets an entry for each connection."""
    connections: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(1)
                with connection:
                    try:
                        behave(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], connections
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def take_in(connection: socket.socket) -> None:
    """Receives the whole request. Head and body come apart: who answers and closes between them resets the
    connection, and a reset may overtake the answer."""
    received = b""
    while not received.endswith(PAYLOAD.encode()) and (more := connection.recv(65536)):
        received += more


def test_a_receiver_can_verify_what_it_gets() -> None:
    with hooks.receiver() as receiver:
        outcome = deliver(receiver.url)
    assert (outcome.status_code, outcome.error) == (204, None)
    [got] = receiver.got
    assert got.body.decode() == PAYLOAD
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == "evt_01kax6m3n4p5q6r7s8t9v0w1x2"
    Webhook(webhook_secrets.shown(SECRET)).verify(got.body, got.headers)


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_an_answer_that_is_no_success_is_a_failure(status: int) -> None:
    with hooks.receiver(lambda _: (status, {}, b"secret of the receiver")) as receiver:
        outcome = deliver(receiver.url)
    assert (outcome.status_code, outcome.error) == (status, f"answered {status}")


def test_a_redirect_is_not_followed() -> None:
    with hooks.receiver() as inner:
        elsewhere = {"Location": inner.url}
        with hooks.receiver(lambda _: (302, elsewhere, b"")) as receiver:
            outcome = deliver(receiver.url)
    assert outcome.status_code == 302
    assert outcome.error == "answered 302: redirects are not followed"
    assert inner.got == []
    metadata = {"Location": "http://169.254.169.254/latest/meta-data"}
    with hooks.receiver(lambda _: (307, metadata, b"")) as receiver:
        assert deliver(receiver.url).error == "answered 307: redirects are not followed"


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    far = "Mon, 01 Jan 99999999999999 00:00:00 GMT"
    told = (("120", 120), (in_an_hour, 3600), ("soon", None), ("-5", None), (far, None))
    for value, expected in told:
        answer = {"Retry-After": value}
        with hooks.receiver(lambda _, answer=answer: (503, answer, b"")) as receiver:
            outcome = deliver(receiver.url)
        if expected is None:
            assert outcome.retry_after_s is None
        else:
            assert outcome.retry_after_s == pytest.approx(expected, abs=5)


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("169.254.169.254",),
        ("10.0.0.1",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("2002:7f00:1::",),
        # One bad address among good ones is enough.
        ("93.184.215.14", "127.0.0.1"),
    ],
)
def test_a_name_that_stands_for_an_inner_address_is_not_connected_to(
    addresses: tuple[str, ...],
) -> None:
    outcome = deliver("https://rebound.example.com/", resolve=to(*addresses), private=False)
    assert outcome.status_code is None
    assert outcome.error == "not sent: the host's name stands for an address that is not public"


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://example.com:8443/", "https://127.0.0.1/"]
)
def test_the_url_is_judged_again_at_every_delivery(url: str) -> None:
    outcome = deliver(url, resolve=to("93.184.215.14"), private=False)
    assert (outcome.error or "").startswith("not sent: ")


def test_a_name_that_is_rebound_between_two_looks_is_looked_up_once_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The address that was judged is the one that is connected to: no second look-up takes place."""
    asked: list[str] = []
    with hooks.receiver() as judged, hooks.receiver() as inner:

        async def rebinding(host: str, _port: int) -> Sequence[Address]:
            asked.append(host)
            return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

        def no_look_up(*_arguments: object, **_options: object) -> None:
            raise AssertionError("a second look-up")

        monkeypatch.setattr(socket, "getaddrinfo", _numeric_only(socket.getaddrinfo, no_look_up))
        port = judged.url.rpartition(":")[2].split("/")[0]
        outcome = deliver(f"http://rebinding.example:{port}/hook", resolve=rebinding)
    assert outcome.error is None
    assert asked == ["rebinding.example"]
    assert judged.got[0].headers["host"] == f"rebinding.example:{port}"
    assert inner.got == []


def _numeric_only(
    real: Callable[..., object], refuse: Callable[..., object]
) -> Callable[..., object]:
    def look_up(host: str | bytes, *arguments: object, **options: object) -> object:
        text = host.decode() if isinstance(host, bytes) else host
        try:
            ip_address(text)
        except ValueError:
            return refuse()
        return real(host, *arguments, **options)

    return look_up


def test_a_name_that_cannot_be_resolved_fails_closed() -> None:
    async def unknown(_host: str, _port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    outcome = deliver("https://nowhere.example.com/", resolve=unknown, private=False)
    assert outcome.error == "not sent: the host's name cannot be resolved"
    nothing = deliver("https://nowhere.example.com/", resolve=to(), private=False)
    assert nothing.error == "not sent: the host's name stands for no address"


@pytest.mark.parametrize("host", ["a..example.com", f"{'a' * 64}.example.com", "xn--a.example.com"])
def test_a_host_that_was_stored_and_is_no_name_is_an_outcome(host: str) -> None:
    for private in (True, False):
        outcome = deliver(f"https://{host}/", private=private)
        assert outcome.error == "not sent: The host is no legal name."


def test_what_nobody_foresaw_is_an_outcome_too(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_host: str, _port: int) -> Sequence[Address]:
        raise LookupError("of the service's own network")

    outcome = deliver("https://example.com/", resolve=broken, private=False)
    assert (outcome.status_code, outcome.error) == (None, "cannot be sent")
    assert "LookupError" in caplog.text


def test_a_name_in_punycode_is_looked_up_as_it_is_written() -> None:
    """Decoded and encoded again by an older rule it would be fass.example, which is somebody else's."""
    asked: list[str] = []

    async def noting(host: str, _port: int) -> Sequence[Address]:
        asked.append(host)
        return []

    deliver("https://xn--fa-hia.example/", resolve=noting, private=False)
    assert asked == ["xn--fa-hia.example"]


def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_post, "CONNECT_S", 0.1)

    async def hanging(_host: str, _port: int) -> Sequence[Address]:
        await asyncio.sleep(60)
        return []

    outcome = deliver("https://slow.example.com/", resolve=hanging, private=False)
    assert outcome.error == "not sent: the host's name could not be resolved in time"


def test_a_tarpit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_post, "TOTAL_S", 0.3)

    def drip(connection: socket.socket) -> None:
        for letter in b"HTTP/1.1 200 OK\r\n" * 100:
            connection.send(bytes([letter]))
            time.sleep(0.05)

    with raw_server(drip) as (port, _):
        outcome = deliver(f"http://127.0.0.1:{port}/")
    assert (outcome.status_code, outcome.error) == (None, "no answer within 0.3 s")
    assert outcome.duration_s < 5


def test_an_endless_answer_is_cut_off_and_its_status_counts() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        take_in(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(1000):
            connection.sendall(chunk)
            sent += len(chunk)

    with raw_server(flood) as (port, _):
        outcome = deliver(f"http://127.0.0.1:{port}/")
    assert (outcome.status_code, outcome.error) == (200, None)
    assert sent < 20 * 2**20


def test_an_answer_that_drips_after_its_status_has_been_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_post, "TOTAL_S", 0.5)

    def drip(connection: socket.socket) -> None:
        take_in(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.send(b"x")
            time.sleep(0.05)

    with raw_server(drip) as (port, _):
        outcome = deliver(f"http://127.0.0.1:{port}/")
    assert (outcome.status_code, outcome.error) == (200, None)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 20"])
def test_what_is_no_http_is_told_without_its_content(answer: bytes) -> None:
    def say(connection: socket.socket) -> None:
        take_in(connection)
        connection.sendall(answer)

    with raw_server(say) as (port, _):
        outcome = deliver(f"http://127.0.0.1:{port}/")
    assert outcome.status_code is None
    assert outcome.error == "the connection broke, or the answer was no HTTP"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert deliver(f"http://127.0.0.1:{port}/").error == "cannot connect"


def test_a_secret_that_cannot_be_read_sends_nothing() -> None:
    with hooks.receiver() as receiver:
        one = claimed(receiver.url)
        foreign = Claimed(**{**vars(one), "endpoint_id": uuid4()})
        outcome = asyncio.run(
            webhook_post.deliver(foreign, allow_private=True, resolve=to("127.0.0.1"))
        )
    assert outcome.error == "not sent: the secret cannot be read any more; rotate it"
    assert receiver.got == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with hooks.receiver() as receiver:
        assert deliver(receiver.url).error is None
    assert len(receiver.got) == 1


def test_the_certificate_must_be_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = _certificate_for("hooks.example.com", tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    names: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(webhook_post, "_tls", lambda: trusting)

    def answer(connection: socket.socket) -> None:
        with server_side.wrap_socket(connection, server_side=True) as secured:
            take_in(secured)
            secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(answer) as (port, _):
        good = deliver(f"https://hooks.example.com:{port}/", resolve=to("127.0.0.1"))
        bad = deliver(f"https://other.example.com:{port}/", resolve=to("127.0.0.1"))
    assert (good.status_code, good.error) == (204, None)
    assert (bad.status_code, bad.error) == (None, "cannot connect")
    assert names == ["hooks.example.com", "other.example.com"]


def _certificate_for(host: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
