"""The service behind the gateway: one connection, used with the key of whoever calls."""

from __future__ import annotations

from cogreel import AsyncCogReel
from cogreel.v1.catalog_pb2 import Endpoint

from gateway.answers import refusal


class Backend:
    """Shared by all calls."""

    def __init__(self, client: AsyncCogReel) -> None:
        self.anyone = client
        """The client of who has no key."""

    def client_for(self, api_key: str) -> AsyncCogReel:
        """The client of one caller.

        Raises:
            RefusalError: no key could look like this.
        """
        try:
            return self.anyone.with_api_key(api_key)
        except ValueError as error:
            raise refusal(401, f"The API key is malformed: {error}.") from error


async def endpoint_named(client: AsyncCogReel, name: str) -> Endpoint:
    """What an endpoint takes, and how much waits there.

    The service is asked each time, so that a wrong key is told before a wrong input.

    Raises:
        RefusalError: there is no such endpoint.
        CogReelError: the service cannot be asked, or refuses the key.
    """
    known = {found.endpoint: found for found in await client.endpoints()}
    if name not in known:
        raise refusal(404, f"There is no endpoint {name!r} here. Served: {', '.join(known)}.")
    return known[name]
