"""Where the guard lets a fetch go: every address of a host is looked at, and operators may open what they name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import pytest

from files.errors import FetchFailedError, FetchRefusedError
from files.fetch_guard import AllowedPlace, FetchGuard, FetchSettings, resolve_host
from files.remote_url import RemoteUrl

NAMES = {
    "public.example": ["1.1.1.1", "2606:4700:4700::1111"],
    "inside.example": ["10.0.0.7"],
    "mixed.example": ["1.1.1.1", "10.0.0.7"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "local.example": ["fe80::1%eth0"],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    return NAMES.get(host, [])


def guard(*allow: str, sources: Literal["public", "allowed", "none"] = "public") -> FetchGuard:
    return FetchGuard(FetchSettings(sources, tuple(AllowedPlace.parse(text) for text in allow)), resolve)


async def admitted(url: str, by: FetchGuard) -> list[str] | None:
    try:
        return [str(address) for address in await by.admit(RemoteUrl.parse(url))]
    except FetchRefusedError:
        return None


async def test_a_public_host_is_let_through_with_all_its_addresses() -> None:
    assert await admitted("http://public.example/a", guard()) == NAMES["public.example"]
    assert await admitted("http://1.1.1.1/a", guard()) == ["1.1.1.1"]


@pytest.mark.parametrize(
    "host",
    [
        *("inside.example", "mixed.example", "mapped.example", "local.example", "unknown.example"),
        *("127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[fd00:ec2::254]", "[::]", "0.0.0.0", "224.0.0.1", "100.100.100.200"),
    ],
)
async def test_a_host_with_any_address_inside_is_refused_and_none_is_told(host: str) -> None:
    with pytest.raises(FetchRefusedError) as raised:
        await guard().admit(RemoteUrl.parse(f"http://{host}/a?secret"))
    assert str(raised.value).endswith("/a is at no address that this installation may fetch from")
    assert "10.0.0.7" not in str(raised.value)


async def test_literal_addresses_are_refused_before_anything_is_resolved() -> None:
    with pytest.raises(FetchRefusedError):
        guard().check(RemoteUrl.parse("http://169.254.169.254/latest/meta-data"))
    guard().check(RemoteUrl.parse("http://inside.example/"))


async def test_an_allowed_name_is_trusted_wherever_it_leads() -> None:
    for allowed in ("inside.example", "Inside.Example.", "inside.example:8080"):
        assert await admitted("http://inside.example:8080/", guard(allowed)) == ["10.0.0.7"]
    assert await admitted("http://inside.example/", guard("inside.example:8080")) is None
    assert await admitted("http://x.inside.example/", guard("inside.example")) is None
    assert await admitted("http://10.0.0.7/", guard("inside.example")) is None
    assert await admitted("http://unknown.example/", guard("unknown.example")) is None


@pytest.mark.parametrize("allowed", ["10.0.0.0/24", "10.0.0.7", "10.0.0.7:80"])
async def test_an_allowed_network_is_open_to_every_name_that_leads_there(allowed: str) -> None:
    for host in ("inside.example", "mixed.example", "10.0.0.7", "[::ffff:10.0.0.7]"):
        assert await admitted(f"http://{host}/", guard(allowed)) is not None, host
    for host in ("10.0.1.7", "127.0.0.1", "local.example"):
        assert await admitted(f"http://{host}/", guard(allowed)) is None, host


async def test_an_allowed_ipv6_address_may_have_a_port() -> None:
    assert await admitted("http://[::1]:8080/", guard("[::1]:8080")) == ["::1"]
    assert await admitted("http://[::1]:8081/", guard("[::1]:8080")) is None
    assert await admitted("http://[::1]:8081/", guard("::1")) == ["::1"]


async def test_an_installation_may_fetch_from_nowhere_but_allowed_places_or_from_nowhere() -> None:
    only_allowed = guard("inside.example", sources="allowed")
    assert await admitted("http://inside.example/", only_allowed) == ["10.0.0.7"]
    assert await admitted("http://public.example/", only_allowed) is None
    assert await admitted("http://inside.example/", guard("inside.example", sources="none")) is None


@pytest.mark.parametrize(
    "text",
    ["", "*", "a b", "http://a/", "10.0.0.1/8", "10.0.0.0/33", "127.1", "2130706433", "a:b", "-:", "[::1", "a..b"],
)
def test_an_allowed_place_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no host name, address or network"):
        AllowedPlace.parse(text)


async def test_the_systems_resolver_is_asked() -> None:
    assert set(await resolve_host("localhost", 80)) & {"127.0.0.1", "::1"}
    with suppress(FetchFailedError):  # where there is no DNS to ask
        assert await resolve_host("name.invalid", 80) == ()
