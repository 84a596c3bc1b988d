"""The queue: submit, status, result, cancel.

Submissions name the whole endpoint. For all else the published clients name its app only, and callers by hand may name
the whole there too: a request is found under these two paths and under no other.
"""

from __future__ import annotations

import uuid
from functools import partial

from cogreel import AsyncCogReel, CogReelError
from cogreel.v1.queue_pb2 import RequestState, RequestStatus, SubmitResponse
from cogreel.v1.video_pb2 import VideoOutput
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.access import client_of
from gateway.answers import REQUEST_ID_HEADER, answer, not_found, refusal
from gateway.backend import endpoint_named
from gateway.bodies import json_object, read_body
from gateway.context import context_of, origin_of
from gateway.errors import no_result, refusal_of
from gateway.own_files import at_the_store
from gateway.presentation import RequestUrls, app_of, is_over, status_json
from gateway.repeats import submit
from gateway.submission import Submission, read_submission
from hosted.results import result_json

_TRUE = frozenset({"1", "true", "yes"})
_REQUEST = "/{endpoint:path}/requests/{request_id}"


def queue_routes() -> list[BaseRoute]:
    """The routes; the one for submissions takes any path, so that it must come last of all."""
    return [
        Route(f"{_REQUEST}/status", read_status, methods=["GET"]),
        Route(f"{_REQUEST}/cancel", cancel, methods=["PUT"]),
        Route(f"{_REQUEST}/response", read_result, methods=["GET"]),
        Route(_REQUEST, read_result, methods=["GET"]),
    ]


def submit_route() -> BaseRoute:
    """The route for submissions."""
    return Route("/{endpoint:path}", submit_to_queue, methods=["POST"])


async def submit_to_queue(request: Request) -> Response:
    """Queue a request."""
    _, response = await accept(request)
    urls = urls_of(request)
    body = {
        "status": "IN_QUEUE",
        "queue_position": response.status.position,
        **urls.of(response.request_id),
        "gateway_request_id": response.request_id,
    }
    return answer(body, headers=about(response.request_id))


async def accept(request: Request) -> tuple[Submission, SubmitResponse]:
    """Read a submission and hand it to the service.

    Raises:
        RefusalError: it breaks a rule, or too many requests wait.
        CogReelError: the service is out of reach, or refuses the key.
    """
    context = context_of(request)
    client = client_of(request)
    endpoint = await endpoint_named(client, request.path_params["endpoint"])
    body = json_object(await read_body(request, context.settings.max_body_bytes))
    located = partial(at_the_store, context.seals)
    submission = read_submission(endpoint, body, request.headers, request.query_params, located)
    if submission.max_waiting is not None and endpoint.waiting > submission.max_waiting:
        detail = f"{endpoint.waiting} requests wait, which is more than fal_max_queue_length allows."
        raise refusal(429, detail, headers={"retry-after": "1"})
    try:
        response = await submit(client, submission)
    except CogReelError as error:
        raise refusal_of(error, body) from error
    request.state.request_id = response.request_id
    return submission, response


async def read_status(request: Request) -> Response:
    """Where a request stands: 202 until it is over, then 200."""
    request_id = request_id_of(request)
    with_logs = wants_logs(request)
    found = await client_of(request).status(request_id, with_logs=with_logs)
    check_place(request, found.status)
    body = status_json(found.status, urls_of(request), found.logs if with_logs else None)
    return answer(body, 200 if is_over(found.status) else 202, about(request_id))


async def read_result(request: Request) -> Response:
    """The output of a completed request, or the error of one that has failed."""
    request_id = request_id_of(request)
    client = client_of(request)
    status = (await client.status(request_id)).status
    check_place(request, status)
    return answer(result_json(await output_of(client, status)), headers=about(request_id))


async def cancel(request: Request) -> Response:
    """Cancel a request."""
    request_id = request_id_of(request)
    client = client_of(request)
    check_place(request, (await client.status(request_id)).status)
    await client.cancel(request_id)
    return answer({"status": "CANCELLATION_REQUESTED"}, 202, about(request_id))


async def output_of(client: AsyncCogReel, status: RequestStatus) -> VideoOutput:
    """The output of a request that stands so, with a URL made for this.

    Raises:
        RefusalError: it has none, as the webhook and the status tell it too, or none yet.
    """
    if status.state != RequestState.REQUEST_STATE_COMPLETED:
        raise no_result(status)
    return await client.result(status.request_id)


def request_id_of(request: Request) -> str:
    """The request that a path names, noted for the answer whatever it will be.

    Raises:
        RefusalError: no request can have such an id.
    """
    given: str = request.path_params["request_id"]
    try:
        request_id = str(uuid.UUID(given))
    except ValueError as error:
        raise not_found(f"There is no request {given[:64]!r}.") from error
    request.state.request_id = request_id
    return request_id


def check_place(request: Request, status: RequestStatus) -> None:
    """Return if a request is one of the endpoint that its path names.

    Raises:
        RefusalError: it is another endpoint's, and is not found here.
    """
    named: str = request.path_params["endpoint"]
    if named not in {status.endpoint, app_of(status.endpoint)}:
        raise not_found(f"There is no request {status.request_id} of {named}.")


def urls_of(request: Request) -> RequestUrls:
    """Where the requests of a path's endpoint are found."""
    return RequestUrls(origin_of(request), request.path_params["endpoint"])


def wants_logs(request: Request) -> bool:
    """Whether log lines are asked for: `1` in JavaScript, `true` in Python."""
    return request.query_params.get("logs", "").lower() in _TRUE


def about(request_id: str) -> dict[str, str]:
    """The header that names the request which an answer is about."""
    return {REQUEST_ID_HEADER: request_id}
