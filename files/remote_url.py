"""URLs of other servers, read by one strict parser: what it lets pass means the same to everything that reads it later.

Lenient parsers differ in what they make of user information, backslashes, control characters and odd numbers, and
whoever checks with the one and connects by the other has checked nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urljoin

from files.errors import FetchRefusedError
from files.public_addresses import IPAddress

MAX_URL_BYTES = 8192
"""The longest URL that is taken: signed ones are long, and each stands in its request's record."""

_LONGEST_SHOWN = 200
_LONGEST_NAME = 253
_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[!-~]+")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that resolvers take for a part of an IPv4 address


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """An http(s) URL without user information and fragment.

    `host` is a name in lower case without a final dot, or an address without brackets; `target` is path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> RemoteUrl:
        """Read a URL.

        Raises:
            FetchRefusedError: it is none, or one that readers could disagree about; the message says which rule it
                breaks.
        """
        if len(text) > MAX_URL_BYTES:
            raise FetchRefusedError(f"must be a URL of at most {MAX_URL_BYTES} bytes")
        if not _PRINTABLE.fullmatch(text) or "\\" in text:
            raise FetchRefusedError("must be a URL of printable ASCII characters, without backslashes")
        authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
        if "@" in authority:
            raise FetchRefusedError("must be a URL without user name and password")
        found = _URL.fullmatch(text)
        if found is None:
            raise FetchRefusedError("must be a URL of the form http(s)://host[:port]/path")
        scheme = found["scheme"].lower()
        port = int(found["port"] or _PORTS[scheme])
        if not 1 <= port <= 65535:
            raise FetchRefusedError("must be a URL with a port of 1 to 65535")
        return cls(scheme, _host(found["host"].lower()), port, (found["path"] or "/") + (found["query"] or ""))

    def joined(self, location: str) -> RemoteUrl:
        """Where a redirect from here leads. Raises `FetchRefusedError`."""
        # Looked at first: `urljoin` drops tabs and line ends, and reads a lone scheme in its own way.
        if not _PRINTABLE.fullmatch(location) or "\\" in location:
            raise FetchRefusedError(f"{self.shown} redirects to what is no URL")
        try:
            return RemoteUrl.parse(urljoin(str(self), location))
        except FetchRefusedError as error:
            raise FetchRefusedError(f"what {self.shown} redirects to {error}") from error

    @property
    def address(self) -> IPAddress | None:
        """The host, where it is an address and no name."""
        if ":" in self.host:
            return IPv6Address(self.host)
        return IPv4Address(self.host) if _NUMBER.fullmatch(self.host.rpartition(".")[2]) else None

    @property
    def authority(self) -> str:
        """Host and port as in a Host header: the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for logs and errors: without its query, which may hold a signature, and cut."""
        bare = f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"
        return bare if len(bare) <= _LONGEST_SHOWN else f"{bare[:_LONGEST_SHOWN]}…"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except AddressValueError as error:
            raise FetchRefusedError("must be a URL whose IPv6 address is valid") from error
    host = text.removesuffix(".")
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise FetchRefusedError("must be a URL whose host is a valid name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # 2130706433, 0177.0.0.1, 0x7f.1 and 127.1 are all loopback to some resolver.
        try:
            return str(IPv4Address(host))
        except AddressValueError as error:
            raise FetchRefusedError("must be a URL whose IPv4 address is four decimal numbers") from error
    return host
