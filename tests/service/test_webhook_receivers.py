"""One POST to a receiver: by its name over TLS, at an address that was looked at, and what is worth trying again."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from pathlib import Path

import pytest
import pytest_asyncio

from files.errors import FetchFailedError
from files.fetch_guard import AllowedPlace, FetchSettings
from service.webhook_receivers import Receivers, Reply
from tests.hostile_server import HostileServer, answer

HOST = "pictures.example.org"
CERTIFICATE = Path(__file__).parents[1] / "files/certificates/pictures.example.org.pem"
LOOPBACK = FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[HostileServer]:
    """A receiver with a certificate for `HOST`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    async with HostileServer(tls) as running:
        running.answers["/hook"] = answer(status="202 Accepted")
        yield running


def receivers(*addresses: str, fetching: FetchSettings = LOOPBACK) -> Receivers:
    """Receivers in a world where `HOST` has these addresses; without any, nobody can be asked for them now."""

    async def resolve(host: str, _port: int) -> Sequence[str]:
        if not addresses:
            raise FetchFailedError(f"the host {host} cannot be resolved at the moment")
        return addresses if host == HOST else ()

    return Receivers(fetching, timeout_s=5, resolve=resolve, tls=ssl.create_default_context(cafile=str(CERTIFICATE)))


async def test_a_receiver_is_known_by_its_name(server: HostileServer) -> None:
    reply = await receivers("127.0.0.1").post(server.url("/hook?a=b", HOST), (("webhook-id", "1"),), b"{}")
    assert reply == Reply(202)
    [head] = server.heads
    assert head.startswith("POST /hook?a=b HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}\r\n" in head
    assert server.bodies == [b"{}"]


@pytest.mark.parametrize(
    ("status", "said", "asked_s"),
    [
        ("503 Busy", "Retry-After: 120", 120),
        ("429 Too Many Requests", "Retry-After: 7", 7),
        ("503 Busy", "Retry-After: IN_TEN_MINUTES", 600),
        ("503 Busy", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("503 Busy", "Retry-After: soon", 0),
        ("503 Busy", "Retry-After: -5", 0),
        ("503 Busy", "Retry-After: 1e9", 0),
        ("503 Busy", "X-Nothing: 1", 0),
        ("500 Oops", "Retry-After: 120", 0),
    ],
)
async def test_a_busy_receiver_may_say_how_long_to_leave_it_alone(
    server: HostileServer, status: str, said: str, asked_s: float
) -> None:
    said = said.replace("IN_TEN_MINUTES", formatdate(time.time() + 600, usegmt=True))
    server.answers["/hook"] = answer(b"", said, status=status)
    reply = await receivers("127.0.0.1").post(server.url("/hook", HOST), (), b"{}")
    assert reply.retry_after_s == pytest.approx(asked_s, abs=30)
    assert (reply.status, reply.final) == (int(status[:3]), False)


async def test_a_certificate_that_does_not_hold_may_be_renewed(server: HostileServer) -> None:
    reply = await receivers("127.0.0.1").post(server.url("/hook"), (), b"{}")
    assert (reply.status, reply.final) == (0, False)
    assert "no valid certificate" in reply.problem
    assert server.bodies == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"]])
async def test_a_name_with_any_address_inside_is_given_up(server: HostileServer, addresses: list[str]) -> None:
    reply = await receivers(*addresses).post(server.url("/hook?secret", HOST), (), b"{}")
    told = f"{server.url('/hook', HOST)} is at no address that this installation may call"
    assert reply == Reply(0, told, final=True)
    assert server.bodies == []


async def test_a_name_that_cannot_be_asked_for_now_and_a_closed_port_are_tried_again(server: HostileServer) -> None:
    unknown = await receivers().post(server.url("/hook", HOST), (), b"{}")
    assert (unknown.final, unknown.problem) == (False, f"the host {HOST} cannot be resolved at the moment")
    async with HostileServer() as closed:
        url = closed.url("/hook", HOST)
    refused = await receivers("127.0.0.1").post(url, (), b"{}")
    assert (refused.final, refused.problem) == (False, f"{url} cannot be connected to")


async def test_only_allowed_places_are_called_where_the_internet_is_not(server: HostileServer) -> None:
    fetching = FetchSettings("allowed", LOOPBACK.allow)
    assert (await receivers("127.0.0.1", fetching=fetching).post(server.url("/hook", HOST), (), b"{}")).status == 202
    assert (await receivers("1.1.1.1", fetching=fetching).post(server.url("/hook", HOST), (), b"{}")).final


async def test_what_is_no_url_any_more_is_given_up() -> None:
    reply = await receivers("127.0.0.1").post("http://[not-a-host]/", (), b"{}")
    assert reply.final
    assert "must be a URL" in reply.problem
