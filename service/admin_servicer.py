"""AdminService: keys, workers, models, queues, and the deletion of a request. Only keys with role admin get here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

import grpc
import structlog
from cogreel.v1 import admin_pb2_grpc
from cogreel.v1.admin_pb2 import (
    ROLE_CALLER,
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    DeleteRequestRequest,
    DeleteRequestResponse,
    GetQueueOverviewRequest,
    GetQueueOverviewResponse,
    ListApiKeysRequest,
    ListApiKeysResponse,
    ListModelsRequest,
    ListModelsResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    ModelCard,
    RevokeApiKeyRequest,
    RevokeApiKeyResponse,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
    ServedModel,
)

from files import ObjectStore
from jobs.broker import Broker
from jobs.errors import BrokerUnavailableError, InvalidInputError, Violation
from jobs.keys import (
    LONGEST_GRACE,
    KeyNotFoundError,
    KeyRevokedError,
    create_key,
    list_keys,
    revoke_key,
    role_name,
    rotate_key,
)
from jobs.overview import QueueOverview
from jobs.registry import list_workers
from jobs.subjects import RequestKey
from jobs.view import LiveView
from service.authentication import caller
from service.erasing import delete_request

_log = structlog.get_logger(__name__)


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves one replica. `overview` must be fed by the view."""

    def __init__(
        self,
        broker: Broker,
        view: LiveView,
        overview: QueueOverview,
        store: ObjectStore,
        cards: Mapping[str, ModelCard],
    ) -> None:
        self._broker = broker
        self._view = view
        self._overview = overview
        self._store = store
        self._cards = cards

    async def CreateApiKey(
        self, request: CreateApiKeyRequest, context: grpc.aio.ServicerContext[CreateApiKeyRequest, CreateApiKeyResponse]
    ) -> CreateApiKeyResponse:
        """See the contract."""
        key, text = await create_key(
            self._broker,
            request.tenant,
            role=request.role or ROLE_CALLER,
            limits=request.limits if request.HasField("limits") else None,
        )
        _log_change("key.created", key)
        return CreateApiKeyResponse(key=key, secret=text)

    async def ListApiKeys(
        self, request: ListApiKeysRequest, context: grpc.aio.ServicerContext[ListApiKeysRequest, ListApiKeysResponse]
    ) -> ListApiKeysResponse:
        """See the contract."""
        keys = await list_keys(self._broker)
        if request.HasField("tenant"):
            keys = [key for key in keys if key.tenant == request.tenant]
        return ListApiKeysResponse(keys=keys)

    async def RevokeApiKey(
        self, request: RevokeApiKeyRequest, context: grpc.aio.ServicerContext[RevokeApiKeyRequest, RevokeApiKeyResponse]
    ) -> RevokeApiKeyResponse:
        """See the contract."""
        try:
            key = await revoke_key(self._broker, request.key_id)
        except KeyNotFoundError as error:
            raise _key_unknown() from error
        _log_change("key.revoked", key)
        return RevokeApiKeyResponse(key=key)

    async def RotateApiKey(
        self, request: RotateApiKeyRequest, context: grpc.aio.ServicerContext[RotateApiKeyRequest, RotateApiKeyResponse]
    ) -> RotateApiKeyResponse:
        """See the contract."""
        if request.grace.seconds > LONGEST_GRACE.total_seconds():
            raise InvalidInputError([Violation("grace", f"must be at most {LONGEST_GRACE.days} days")])
        grace = timedelta(seconds=request.grace.seconds, microseconds=request.grace.nanos // 1000)
        try:
            rotated = await rotate_key(self._broker, request.key_id, grace=min(grace, LONGEST_GRACE))
        except KeyNotFoundError as error:
            raise _key_unknown() from error
        except KeyRevokedError as error:
            rule = "must be a key that works; this one is revoked, so create a new one"
            raise InvalidInputError([Violation("key_id", rule)]) from error
        _log_change("key.created", rotated.key)
        _log_change("key.revoked", rotated.old)
        return RotateApiKeyResponse(key=rotated.key, secret=rotated.text)

    async def ListWorkers(
        self, request: ListWorkersRequest, context: grpc.aio.ServicerContext[ListWorkersRequest, ListWorkersResponse]
    ) -> ListWorkersResponse:
        """See the contract."""
        return ListWorkersResponse(workers=await list_workers(self._broker))

    async def ListModels(
        self, request: ListModelsRequest, context: grpc.aio.ServicerContext[ListModelsRequest, ListModelsResponse]
    ) -> ListModelsResponse:
        """See the contract."""
        return ListModelsResponse(
            models=[ServedModel(endpoint=endpoint, card=card) for endpoint, card in sorted(self._cards.items())]
        )

    async def GetQueueOverview(
        self,
        request: GetQueueOverviewRequest,
        context: grpc.aio.ServicerContext[GetQueueOverviewRequest, GetQueueOverviewResponse],
    ) -> GetQueueOverviewResponse:
        """See the contract."""
        if not self._view.caught_up:
            raise BrokerUnavailableError("what is known here may be out of date")
        return GetQueueOverviewResponse(queues=self._overview.counts(self._cards))

    async def DeleteRequest(
        self,
        request: DeleteRequestRequest,
        context: grpc.aio.ServicerContext[DeleteRequestRequest, DeleteRequestResponse],
    ) -> DeleteRequestResponse:
        """See the contract."""
        key = RequestKey(request.tenant, str(uuid.UUID(request.request_id)))
        await delete_request(self._broker, self._store, key)
        self._view.projection.forget(key)  # as every replica does; this one at once
        _log.info("request.deleted", request_id=key.request_id, tenant=key.tenant, by_key=caller.get().key_id)
        return DeleteRequestResponse()


def _key_unknown() -> InvalidInputError:
    return InvalidInputError([Violation("key_id", "must be the id of a key; ListApiKeys shows all")])


def _log_change(event: str, key: ApiKey) -> None:
    """Who did what to which key: what an operator looks for after an incident."""
    revoked = key.revoked.ToJsonString() if key.HasField("revoked") else None
    by_key = caller.get().key_id
    _log.info(event, key_id=key.key_id, tenant=key.tenant, role=role_name(key.role), revoked=revoked, by_key=by_key)
