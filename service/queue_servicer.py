"""QueueService over the queue. Meaning lives in `jobs` and words in `presentation`, so methods are a few lines."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import structlog
from cogreel.v1 import queue_pb2_grpc
from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.errors_pb2 import ErrorReason
from cogreel.v1.queue_pb2 import (
    CancelRequest,
    CancelResponse,
    FailureReason,
    GetResultRequest,
    GetResultResponse,
    GetStatusRequest,
    GetStatusResponse,
    GetWebhookKeysRequest,
    GetWebhookKeysResponse,
    ListRequestsRequest,
    ListRequestsResponse,
    RequestStatus,
    SubmitRequest,
    SubmitResponse,
    WatchStatusRequest,
    WatchStatusResponse,
)

from files import ObjectStore
from jobs.cards import input_of, kind_of
from jobs.errors import Violation
from jobs.queue import Queue
from jobs.record_pb2 import Record, State
from jobs.states import WAITING, public_name
from jobs.subjects import RequestKey
from jobs.trace_context import current_trace_context
from jobs.view import LiveView
from jobs.webhook_keys import WebhookKeys
from service.authentication import current_tenant
from service.errors import CallError
from service.input_files import InputFiles
from service.presentation import latest_progress, lines_of, presigned_outputs, response_to, status_of
from service.webhook_receivers import Receivers
from service.webhook_signing import jwks

WEBHOOK_KEYS_MAX_AGE_S = 3600

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueServiceSettings:
    """`url_validity_s` is how long a presigned URL works; `checkpoint_s` how long a watch may be silent."""

    url_validity_s: int = 3600
    checkpoint_s: float = 15.0


def _key(request_id: str) -> RequestKey:
    return RequestKey(current_tenant(), str(uuid.UUID(request_id)))


class QueueServicer(queue_pb2_grpc.QueueServiceServicer):
    """Serves one replica's queue and view; URLs come from the store, without asking it."""

    def __init__(
        self,
        queue: Queue,
        view: LiveView,
        *,
        store: ObjectStore,
        inputs: InputFiles,
        receivers: Receivers,
        webhook_keys: WebhookKeys,
        settings: QueueServiceSettings,
    ) -> None:
        self._queue = queue
        self._view = view
        self._inputs = inputs
        self._receivers = receivers
        self._webhook_keys = webhook_keys
        self._output_of = presigned_outputs(store, validity_s=settings.url_validity_s)
        self._settings = settings

    async def Submit(
        self, request: SubmitRequest, context: grpc.aio.ServicerContext[SubmitRequest, SubmitResponse]
    ) -> SubmitResponse:
        """See the contract."""
        _refuse_unserved(request, self._queue.cards)
        if request.HasField("webhook_url"):
            self._receivers.check(request.webhook_url)
        self._queue.check(request)  # before files are moved for it
        resolved = await self._inputs.resolve(current_tenant(), request)
        submitted = await self._queue.submit(
            current_tenant(), resolved.submission, digest=resolved.digest, trace_context=current_trace_context()
        )
        record = submitted.record
        _log.info(
            "request.submitted",
            request_id=record.request_id,
            tenant=record.tenant,
            endpoint=record.endpoint,
            existing=submitted.existing,
        )
        [status] = await self._statuses([record])
        return SubmitResponse(request_id=record.request_id, status=status, existing=submitted.existing)

    async def GetStatus(
        self, request: GetStatusRequest, context: grpc.aio.ServicerContext[GetStatusRequest, GetStatusResponse]
    ) -> GetStatusResponse:
        """See the contract."""
        key = _key(request.request_id)
        record = await self._queue.read(key)
        progress = self._queue.progress(key)
        unseen = record.state == State.STATE_RUNNING and progress is None
        if not request.with_logs and not unseen:
            [status] = await self._statuses([record])
            return GetStatusResponse(status=status)
        entries = await self._queue.entries(key)
        [status] = await self._statuses([record])
        if unseen and (latest := latest_progress(entries)) is not None:
            status.progress.CopyFrom(latest)
        if not request.with_logs:
            return GetStatusResponse(status=status)
        lines, truncated = lines_of(entries)
        return GetStatusResponse(status=status, logs=lines, logs_truncated=truncated)

    async def WatchStatus(
        self, request: WatchStatusRequest, context: grpc.aio.ServicerContext[WatchStatusRequest, WatchStatusResponse]
    ) -> AsyncIterator[WatchStatusResponse]:
        """See the contract."""
        key = _key(request.request_id)
        cursor_text = request.cursor if request.HasField("cursor") else None
        events = self._queue.watch(key, cursor_text=cursor_text, checkpoint_s=self._settings.checkpoint_s)
        async for event in events:
            yield response_to(
                event,
                request_id=key.request_id,
                stream_created=self._view.stream_created,
                position=lambda: self._queue.position(key),
            )

    async def GetResult(
        self, request: GetResultRequest, context: grpc.aio.ServicerContext[GetResultRequest, GetResultResponse]
    ) -> GetResultResponse:
        """See the contract."""
        record = await self._queue.read(_key(request.request_id), ended=True)
        if record.state != State.STATE_COMPLETED:
            raise _no_result(record)
        return GetResultResponse(request_id=record.request_id, video=self._output_of(record))

    async def Cancel(
        self, request: CancelRequest, context: grpc.aio.ServicerContext[CancelRequest, CancelResponse]
    ) -> CancelResponse:
        """See the contract."""
        record = await self._queue.cancel(_key(request.request_id))
        _log.info("request.cancelled", request_id=record.request_id, tenant=record.tenant)
        [status] = await self._statuses([record])
        return CancelResponse(status=status)

    async def ListRequests(
        self, request: ListRequestsRequest, context: grpc.aio.ServicerContext[ListRequestsRequest, ListRequestsResponse]
    ) -> ListRequestsResponse:
        """See the contract."""
        records, next_page_token = await self._queue.list(current_tenant(), request)
        return ListRequestsResponse(requests=await self._statuses(records), next_page_token=next_page_token)

    async def GetWebhookKeys(
        self,
        request: GetWebhookKeysRequest,
        context: grpc.aio.ServicerContext[GetWebhookKeysRequest, GetWebhookKeysResponse],
    ) -> GetWebhookKeysResponse:
        """See the contract."""
        keys = (await self._webhook_keys.current()).published(datetime.now(UTC))
        response = GetWebhookKeysResponse(keys=[key.public for key in keys], jwks=jwks(keys))
        response.max_age.FromSeconds(WEBHOOK_KEYS_MAX_AGE_S)
        return response

    async def _statuses(self, records: Sequence[Record]) -> list[RequestStatus]:
        webhooks = await self._queue.webhooks(records)
        keys = [RequestKey(record.tenant, record.request_id) for record in records]
        return [
            status_of(record, position=self._queue.position(key), progress=self._queue.progress(key), webhook=webhook)
            for record, key, webhook in zip(records, keys, webhooks, strict=True)
        ]


def _refuse_unserved(request: SubmitRequest, cards: Mapping[str, ModelCard]) -> None:
    """Refuse options of the contract that this installation would take without honouring them."""
    unserved = []
    kind = request.WhichOneof("input")
    if kind not in {None, "text_to_video", *(kind_of(card) for card in cards.values())}:
        unserved.append(Violation(str(kind), "no model that is served here takes this kind of input"))
    if input_of(request).loras and not any(card.max_loras for card in cards.values()):
        unserved.append(Violation(f"{kind}.loras", "no model that is served here takes LoRAs"))
    if unserved:
        options = " and ".join(violation.field for violation in unserved)
        raise CallError(
            ErrorReason.ERROR_REASON_UNIMPLEMENTED,
            f"This version does not serve {options}; leave it out.",
            violations=unserved,
        )


def _no_result(record: Record) -> CallError:
    request_id, resource = record.request_id, ("request", record.request_id)
    if record.state == State.STATE_CANCELLED:
        return CallError(
            ErrorReason.ERROR_REASON_REQUEST_CANCELLED, f"Request {request_id} was cancelled.", resource=resource
        )
    if record.state == State.STATE_FAILED:
        failure = FailureReason.Name(record.failure.reason).removeprefix("FAILURE_REASON_")
        return CallError(
            ErrorReason.ERROR_REASON_REQUEST_FAILED,
            f"Request {request_id} failed: {record.failure.message}",
            metadata={"failure": failure, "attempts": str(record.attempt), "field": record.failure.field},
            resource=resource,
        )
    state = public_name(record.state)
    waits = "waits in the queue" if record.state in WAITING else "is running"
    return CallError(
        ErrorReason.ERROR_REASON_REQUEST_NOT_FINISHED,
        f"Request {request_id} {waits}; watch it until it is COMPLETED.",
        metadata={"state": state},
        resource=resource,
    )
