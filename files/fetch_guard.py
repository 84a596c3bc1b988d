"""Where this installation may be sent by a URL: the public internet, and what its operator allows.

Names are resolved here and nowhere else, and whoever connects takes the addresses that come out of `FetchGuard.admit`:
an answer of the DNS that changes afterwards changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal

from files.errors import FetchFailedError, FetchRefusedError
from files.public_addresses import IPAddress, is_public, unmapped
from files.remote_url import RemoteUrl

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name, none if there is no such name. Raises `FetchFailedError` if nobody knows now."""

_WITH_PORT = re.compile(r"(?P<host>\[[^]]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
_HOST_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z_-][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class AllowedPlace:
    """A host, by its name, or a network; at one port, or at any."""

    place: str | IPv4Network | IPv6Network
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> AllowedPlace:
        """Read `name`, `address` or `network/bits`; the first two may end in `:port`, an IPv6 address then in brackets.

        Raises:
            ValueError: it is none of these.
        """
        host, port = text.strip().lower(), None
        if (found := _WITH_PORT.fullmatch(host)) is not None:
            host, port = found["host"], int(found["port"])
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        try:
            return cls(ip_network(host), port)
        except ValueError as error:
            name = host.removesuffix(".")
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{text!r} is no host name, address or network") from error
            return cls(name, port)

    def names(self, url: RemoteUrl) -> bool:
        """Whether this is the host of a URL, by its name."""
        return self.place == url.host and self.port in {None, url.port}

    def holds(self, address: IPAddress, port: int) -> bool:
        """Whether an address is in this network."""
        return not isinstance(self.place, str) and address in self.place and self.port in {None, port}


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What may be fetched, and for how long.

    `sources` is `public` for the internet and the allowed places, `allowed` for those alone, and `none`. A host that
    is allowed by name is trusted wherever its name leads; an allowed network is open to every name that leads there.
    `total_s` bounds a whole fetch with its redirects, `idle_s` the silence within it, and a connection's making. Files
    named by an id are on the hub at `hub_url`, which is fetched from by the same rules.
    """

    sources: Literal["public", "allowed", "none"] = "public"
    allow: tuple[AllowedPlace, ...] = ()
    total_s: float = 30.0
    idle_s: float = 10.0
    hub_url: str = "https://huggingface.co"


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise FetchFailedError(f"the host {host} cannot be resolved at the moment") from error
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class FetchGuard:
    """Decides by the settings; `resolve` asks the DNS."""

    def __init__(self, settings: FetchSettings, resolve: Resolve = resolve_host) -> None:
        self._settings = settings
        self._resolve = resolve

    def check(self, url: RemoteUrl) -> None:
        """Return if nothing speaks against a URL before its host is resolved. No I/O.

        Raises:
            FetchRefusedError: its host is an address that is not allowed, or nothing is fetched at all.
        """
        if self._settings.sources == "none":
            raise FetchRefusedError("this installation fetches nothing from other servers; upload the file instead")
        if url.address is not None and not self._named(url):
            self._check_all([url.address], url)

    async def admit(self, url: RemoteUrl) -> list[IPAddress]:
        """The addresses at which the host of a URL may be connected to, resolved now: one or more.

        Raises:
            FetchRefusedError: any of its addresses is not allowed, or it has none.
            FetchFailedError: the host cannot be resolved at the moment.
        """
        self.check(url)
        if url.address is not None:
            return [url.address]
        addresses = [ip_address(text) for text in await self._resolve(url.host, url.port)]
        if not self._named(url):
            self._check_all(addresses, url)
        if not addresses:
            raise _refused(url)
        return addresses

    def _named(self, url: RemoteUrl) -> bool:
        return any(place.names(url) for place in self._settings.allow)

    def _check_all(self, addresses: Sequence[IPAddress], url: RemoteUrl) -> None:
        if not all(self._is_open(unmapped(address), url.port) for address in addresses):
            raise _refused(url)

    def _is_open(self, address: IPAddress, port: int) -> bool:
        if any(place.holds(address, port) for place in self._settings.allow):
            return True
        return self._settings.sources == "public" and is_public(address)


def _refused(url: RemoteUrl) -> FetchRefusedError:
    # The same text where there is no such name: callers are not told which names the inside has, nor their addresses.
    return FetchRefusedError(f"{url.shown} is at no address that this installation may fetch from")
