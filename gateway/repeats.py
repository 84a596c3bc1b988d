"""Submitting without making a second video when a client repeats itself.

The published clients repeat a submission whose answer got lost, and send nothing by which to recognise it. Two equal
bodies may also be two wishes, since the seed is drawn for each. So repeats are one request only where nobody can tell
the difference: with an idempotency key, or with a seed of the caller's, where the same body gives the same video.
"""

from __future__ import annotations

import hashlib

from cogreel import AsyncCogReel
from cogreel.v1.queue_pb2 import RequestState, SubmitRequest, SubmitResponse

from gateway.presentation import is_over
from gateway.submission import Submission

_MOST_ENDED = 32  # requests with one body and seed that have all failed


async def submit(client: AsyncCogReel, submission: Submission) -> SubmitResponse:
    """Submit it, or find the request that an equal submission has made.

    A request that failed or was cancelled is not the one that is wanted, nor is one that has ended when a webhook was
    asked for: it would never be called.

    Raises:
        CogReelError: as `submit_message` of the client.
    """
    if submission.idempotency_key is not None:
        return await client.submit_message(_keyed(submission.request, submission.idempotency_key))
    if not submission.has_seed:
        return await client.submit_message(submission.request)
    key = _digest(submission.request.SerializeToString(deterministic=True))
    for _ in range(_MOST_ENDED):
        response = await client.submit_message(_keyed(submission.request, f"seed-{key}"))
        if not response.existing or not _is_spent(response, submission.request):
            return response
        key = _digest(key.encode() + response.request_id.encode())
    return await client.submit_message(submission.request)


def _is_spent(response: SubmitResponse, request: SubmitRequest) -> bool:
    completed = response.status.state == RequestState.REQUEST_STATE_COMPLETED
    return is_over(response.status) and (not completed or request.HasField("webhook_url"))


def _keyed(request: SubmitRequest, key: str) -> SubmitRequest:
    keyed = SubmitRequest(idempotency_key=key)
    keyed.MergeFrom(request)
    return keyed


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
