"""The service behind the gateway: one connection, used with the key of whoever calls, and what is served there."""

from __future__ import annotations

import time
from collections.abc import Mapping

from cogreel import AsyncCogReel
from cogreel.v1.catalog_pb2 import Endpoint

from gateway.answers import refusal

CATALOG_AGE_S = 10.0
"""For so long it is not asked again what is served: a service changes that only by a restart."""


class Backend:
    """Shared by all calls, as an async context manager; made where the event loop runs."""

    def __init__(self, client: AsyncCogReel) -> None:
        self._client = client
        self._endpoints: Mapping[str, Endpoint] = {}
        self._asked_at = -CATALOG_AGE_S

    def client_for(self, api_key: str) -> AsyncCogReel:
        """The client of one caller.

        Raises:
            RefusalError: no key could look like this.
        """
        try:
            return self._client.with_api_key(api_key)
        except ValueError as error:
            raise refusal(401, f"The API key is malformed: {error}.") from error

    async def endpoint(self, client: AsyncCogReel, name: str) -> Endpoint:
        """What an endpoint takes.

        Raises:
            RefusalError: there is no such endpoint.
            CogReelError: the service cannot be asked.
        """
        known = await self.endpoints(client)
        if name not in known:
            known = await self.endpoints(client, afresh=True)
        if name not in known:
            raise refusal(404, f"There is no endpoint {name!r} here. Served: {', '.join(known)}.")
        return known[name]

    async def endpoints(self, client: AsyncCogReel, *, afresh: bool = False) -> Mapping[str, Endpoint]:
        """What is served, by name.

        Raises:
            CogReelError: the service cannot be asked.
        """
        if afresh or time.monotonic() - self._asked_at > CATALOG_AGE_S:
            self._endpoints = {found.endpoint: found for found in await client.endpoints()}
            self._asked_at = time.monotonic()
        return self._endpoints
