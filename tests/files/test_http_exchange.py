"""An exchange with a body, as whoever notifies other servers makes it: the same guard, without a file."""

from __future__ import annotations

import ssl

from files.fetch_guard import AllowedPlace, FetchGuard, FetchSettings
from files.http_exchange import HttpRequest, exchange
from files.remote_url import RemoteUrl
from tests.hostile_server import HostileServer, answer


async def test_a_body_is_delivered_and_answered() -> None:
    async with HostileServer() as server:
        server.answers["/hook"] = answer(b"thanks", "X-A: 1", "X-A: 2", status="202 Accepted")
        url = RemoteUrl.parse(server.url("/hook?id=1"))
        addresses = await FetchGuard(FetchSettings(allow=(AllowedPlace.parse("127.0.0.1"),))).admit(url)
        body = b"{}" * 100_000
        request = HttpRequest(url, "POST", (("Content-Type", "application/json"),), body)
        async with exchange(request, addresses, ssl.create_default_context(), idle_s=5) as answered:
            assert (answered.status, answered.header("x-a"), answered.header("x-b")) == (202, "1, 2", None)
            assert b"".join([chunk async for chunk in answered.chunks()]) == b"thanks"
        assert server.bodies == [body]
        assert server.heads[0].startswith("POST /hook?id=1 HTTP/1.1\r\n")
