"""Whose webhooks a replica takes on: so much for a receiver's host, and so much for a tenant.

A host gets at most 8 POSTs at a time, and as many more wait here for their turn. A tenant may take one more as long as
it holds less than a quarter of what is free: one alone gets about a fifth of all places, and the more tenants there
are, the less each. Whatever is beyond that is handed back to the broker for a while. So receivers that are slow hold
up those of their own host and of their own tenant, and leave room for others.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

AT_ONCE_A_HOST = 8
WAITING_A_HOST = 8
PART_OF_FREE = 4  # a tenant holds at most one in so many of the free places
BUSY_DELAY_S = 0.5
HOST_SPACING_S = 0.05  # of a host that is busy, so many are handed out again: 20 a second
TENANT_SPACING_S = 0.01  # of a tenant that is busy: 100 a second, as its hosts may be many and quick
LONGEST_BUSY_DELAY_S = 600.0


class BusyError(Exception):
    """There is no place for a delivery now; `delay_s` is when to look again."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"busy for {delay_s:.1f} s")
        self.delay_s = delay_s


@dataclass(slots=True)
class _Line:
    """What is held for a host or a tenant, and until when others were put off."""

    held: int = 0
    put_off_until: float = 0.0

    def put_off(self, spacing_s: float) -> float:
        """For how long to put one more off, behind those that were before."""
        now = time.monotonic()
        until = max(now + BUSY_DELAY_S, self.put_off_until + spacing_s)
        self.put_off_until = min(until, now + LONGEST_BUSY_DELAY_S)
        return self.put_off_until - now


@dataclass(slots=True)
class _Host(_Line):
    at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_A_HOST))


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a delivery holds until it is given back."""

    tenant: str
    host: str
    at_once: asyncio.Semaphore
    """To be entered for the POST."""


class Turns:
    """The places of one replica; there are `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._hosts: dict[str, _Host] = {}
        self._tenants: dict[str, _Line] = {}

    @property
    def free(self) -> int:
        """How many places nobody holds."""
        return self._most - self._held

    def take(self, tenant: str, host: str) -> Place:
        """Take a place.

        Raises:
            BusyError: the host has enough to do, or the tenant holds its part.
        """
        of_host, of_tenant = self._hosts.get(host) or _Host(), self._tenants.get(tenant) or _Line()
        if of_host.held >= AT_ONCE_A_HOST + WAITING_A_HOST:
            raise BusyError(of_host.put_off(HOST_SPACING_S))
        if of_tenant.held >= max(1, self.free // PART_OF_FREE):
            raise BusyError(of_tenant.put_off(TENANT_SPACING_S))
        self._hosts[host], self._tenants[tenant] = of_host, of_tenant  # whose line is empty is forgotten
        of_host.held += 1
        of_tenant.held += 1
        self._held += 1
        return Place(tenant, host, of_host.at_once)

    def give_back(self, place: Place) -> None:
        """Give a place back."""
        self._held -= 1
        _release(self._hosts, place.host)
        _release(self._tenants, place.tenant)


def _release(lines: dict[str, _Host] | dict[str, _Line], name: str) -> None:
    lines[name].held -= 1
    if not lines[name].held:
        del lines[name]
