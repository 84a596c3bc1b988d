"""CatalogService: the endpoints of this installation, as every caller may know them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import grpc
from cogreel.v1 import catalog_pb2_grpc
from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.catalog_pb2 import Endpoint, ListEndpointsRequest, ListEndpointsResponse

from jobs.errors import BrokerUnavailableError
from jobs.overview import queue_counts
from jobs.view import LiveView


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Serves one replica."""

    def __init__(self, view: LiveView, cards: Mapping[str, ModelCard]) -> None:
        self._view = view
        self._cards = cards

    async def ListEndpoints(
        self,
        request: ListEndpointsRequest,
        context: grpc.aio.ServicerContext[ListEndpointsRequest, ListEndpointsResponse],
    ) -> ListEndpointsResponse:
        """See the contract."""
        if not self._view.caught_up:
            raise BrokerUnavailableError("what is known here may be out of date")
        waiting: Counter[str] = Counter()
        for queue in queue_counts(self._view.projection, self._cards):
            waiting[queue.endpoint] += queue.queued
        return ListEndpointsResponse(
            endpoints=[
                Endpoint(endpoint=name, card=card, waiting=waiting[name]) for name, card in sorted(self._cards.items())
            ]
        )
