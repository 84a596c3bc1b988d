"""The caller's side of the queue: submit, read, watch, cancel. What `service` offers over gRPC stands on this."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cogreel.v1.admin_pb2 import ModelCard
from cogreel.v1.queue_pb2 import ListRequestsRequest, Progress, SubmitRequest, WebhookDelivery

from jobs import failpoints, states
from jobs.admission import Admission
from jobs.broker import Broker
from jobs.cancellation import cancel
from jobs.cards import endpoint_for, resolve
from jobs.errors import (
    BrokerUnavailableError,
    IdempotencyConflictError,
    InvalidInputError,
    LimitExceededError,
    QueueFullError,
    RequestNotFoundError,
    Violation,
)
from jobs.listing import page_of
from jobs.merge import EntryEvent, Event, TruncatedEvent
from jobs.publisher import Applied, Lost, Undecided, confirmed_state, key_of, leader_state, publish_transition
from jobs.record_pb2 import Record
from jobs.subjects import RequestKey
from jobs.view import LiveView
from jobs.watch import CheckpointEvent, PositionEvent, read_entries, watch
from jobs.webhooks import read_delivery

READS_AT_ONCE = 64
MAX_SUBMISSION_BYTES = 128 * 1024  # half a record: room for the output, ten failed attempts and what comes later
_IDEMPOTENCY_NAMESPACE = uuid.UUID("6f1c9a52-5d7c-5f0e-9b0a-0d6c0c6e7265")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that was accepted; `existing` if an earlier submission had made it."""

    record: Record
    existing: bool


def request_id_for(tenant: str, idempotency_key: str | None) -> str:
    """The id of a new request: derived from tenant and idempotency key, so that a repeat finds the first."""
    if idempotency_key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_IDEMPOTENCY_NAMESPACE, f"{len(tenant)}:{tenant}:{idempotency_key}"))


def digest_of(submission: SubmitRequest) -> bytes:
    """SHA-256 of a submission as it came, without its idempotency key."""
    bare = SubmitRequest()
    bare.CopyFrom(submission)
    bare.ClearField("idempotency_key")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).digest()


def _submitted_before(record: Record, standing: Record) -> Submitted:
    """What a submission is told that found its request there already.

    It may be its own: one whose acknowledgement was lost, and that a worker has taken since.

    Raises:
        IdempotencyConflictError: the standing request has another body.
    """
    if standing.submission_digest != record.submission_digest:
        raise IdempotencyConflictError(standing.request_id)
    return Submitted(standing, existing=standing.queued_time != record.queued_time)


class Queue:
    """The queue as one service replica offers it, with the cards of the endpoints that it serves."""

    def __init__(
        self, broker: Broker, view: LiveView, cards: Mapping[str, ModelCard], admission: Admission | None = None
    ) -> None:
        self.cards = cards
        self._broker = broker
        self._view = view
        self._admission = admission or Admission(view)

    def check(self, submission: SubmitRequest) -> None:
        """Refuse what `submit` would refuse by its cards.

        Raises:
            InvalidInputError, EndpointNotFoundError: the submission cannot be served.
        """
        endpoint = endpoint_for(submission, self.cards)
        resolve(submission, endpoint, self.cards[endpoint])

    async def submit(
        self,
        tenant: str,
        submission: SubmitRequest,
        *,
        digest: bytes | None = None,
        trace_context: Mapping[str, str] | None = None,
    ) -> Submitted:
        """Queue a request. When this returns, it is on disk.

        `digest` is what a repetition of the caller's message is recognised by, where that is not its own SHA-256.

        Raises:
            InvalidInputError, EndpointNotFoundError: the submission cannot be served.
            IdempotencyConflictError: the key was used with another body.
            QueueFullError: the queue takes no more.
            LimitExceededError: a limit of the tenant is reached.
            BrokerUnavailableError: the broker could not decide in time.
        """
        endpoint = endpoint_for(submission, self.cards)
        card = self.cards[endpoint]
        resolved = resolve(submission, endpoint, card)
        keyed = submission.idempotency_key if submission.HasField("idempotency_key") else None
        request = Record(
            tenant=tenant,
            request_id=request_id_for(tenant, keyed),
            endpoint=endpoint,
            priority=resolved.priority,
            submission=resolved,
            submission_digest=digest if digest is not None else digest_of(submission),
            card_name=card.name,
            card_revision=card.revision,
            max_attempts=resolved.max_attempts,
            trace_context=trace_context or {},
        )
        if request.ByteSize() > MAX_SUBMISSION_BYTES:
            raise InvalidInputError([Violation("", f"must take at most {MAX_SUBMISSION_BYTES} bytes as a whole")])
        try:
            with self._admission.admitting(tenant) as hold:
                now = datetime.now(UTC)
                return await self._publish(states.held(request, now=now) if hold else states.queued(request, now=now))
        except (QueueFullError, LimitExceededError):
            # A repeated submission finds the first one all the same.
            found = await leader_state(self._broker, key_of(request))
            if found is None:
                raise
            return _submitted_before(request, found[1])

    async def _publish(self, record: Record) -> Submitted:
        match await publish_transition(self._broker, record, expected_seq=0):
            case Applied(seq):
                failpoints.reach(failpoints.SUBMIT_PUBLISHED)
                await self._view.reached(seq, timeout_s=1.0)
                return Submitted(record, existing=False)
            case Lost(_, standing):
                assert standing is not None, "who expects nothing cannot lose to nothing"
                return _submitted_before(record, standing)
            case Undecided(cause):
                raise BrokerUnavailableError(cause)

    async def read(self, key: RequestKey, *, ended: bool = False) -> Record:
        """Where a request stands, as the leader has it.

        With `ended`, the caller has reason to think that it has ended: on several brokers another answer is made sure
        of first, which takes up to 1.5 s.

        Raises:
            RequestNotFoundError: the tenant has no such request.
            BrokerUnavailableError: the broker does not answer.
        """
        found = await confirmed_state(self._broker, key, ended=ended)
        if found is None:
            raise RequestNotFoundError(key.request_id)
        seq, record = found
        if record.state in states.WAITING:
            await self._view.reached(seq)
            await self._view.until_current()
        return record

    async def webhooks(self, records: Sequence[Record]) -> list[WebhookDelivery | None]:
        """How far the delivery of each request's webhook is; None where none was asked for.

        Raises:
            BrokerUnavailableError: the broker does not answer.
        """
        found: list[WebhookDelivery | None] = []
        for start in range(0, len(records), READS_AT_ONCE):
            reads = (read_delivery(self._broker, record) for record in records[start : start + READS_AT_ONCE])
            found += await asyncio.gather(*reads)
        return found

    def position(self, key: RequestKey) -> int | None:
        """How many requests will be taken before this one; None if it is not waiting for a worker."""
        return self._view.position(key)

    def progress(self, key: RequestKey) -> Progress | None:
        """How far the running attempt is, as far as this replica has seen."""
        return self._view.projection.progress.get(key)

    async def entries(self, key: RequestKey) -> list[EntryEvent | TruncatedEvent]:
        """All steps and lines so far.

        Raises:
            RequestNotFoundError: the tenant has no such request.
            BrokerUnavailableError: the broker does not answer.
        """
        return await read_entries(self._broker, key)

    async def list(self, tenant: str, wanted: ListRequestsRequest) -> tuple[list[Record], str]:
        """A page of the tenant's requests, newest first, and the token of the next page.

        Which requests are on it is what this replica has seen; where they stand is what the leader says.

        Raises:
            InvalidInputError: the page token is none of ours.
            BrokerUnavailableError: the broker does not answer.
        """
        page = page_of(self._view.projection, tenant, wanted)
        found: list[Record] = []
        for start in range(0, len(page.keys), READS_AT_ONCE):
            reads = (leader_state(self._broker, key) for key in page.keys[start : start + READS_AT_ONCE])
            found += [state[1] for state in await asyncio.gather(*reads) if state is not None]
        return found, page.next_token

    def watch(
        self, key: RequestKey, *, cursor_text: str | None, checkpoint_s: float
    ) -> AsyncIterator[Event | PositionEvent | CheckpointEvent]:
        """Every event after the cursor, until the terminal state; see `watch.watch`."""
        return watch(self._view, key, cursor_text=cursor_text, checkpoint_s=checkpoint_s)

    async def cancel(self, key: RequestKey) -> Record:
        """Decide that a request is not wanted, whatever its state; the worker is told at once.

        Raises:
            RequestNotFoundError: the tenant has no such request.
            AlreadyFinishedError: it had completed or failed before.
            BrokerUnavailableError: the broker could not decide in time.
        """
        seq, record = await cancel(self._broker, key)
        await self._view.reached(seq, timeout_s=1.0)
        return record
