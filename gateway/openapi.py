"""The OpenAPI document. Whoever asks with a key is told of the endpoints too, each with its schema."""

from __future__ import annotations

from collections.abc import Sequence

from cogreel.v1.catalog_pb2 import Endpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.access import client_of
from gateway.answers import answer
from gateway.context import origin_of
from gateway.input_schema import Schema, input_schema, output_schema
from gateway.presentation import app_of

_REQUEST_ID: Schema = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_LOGS: Schema = {"name": "logs", "in": "query", "schema": {"type": "string", "enum": ["0", "1", "true", "false"]}}
_SUBMISSION_OPTIONS: Sequence[tuple[str, str, str]] = (
    ("query", "fal_webhook", "Told the outcome by an HTTP POST."),
    ("query", "fal_max_queue_length", "Answer 429 if more requests than that wait."),
    ("header", "x-fal-queue-priority", "normal or low."),
    ("header", "x-fal-request-timeout", "Seconds within which the request must begin."),
    ("header", "x-fal-no-retry", "1 for a single attempt."),
    ("header", "x-fal-store-io", "0 to have the request erased an hour after its end."),
    ("header", "x-fal-object-lifecycle-preference", 'JSON: {"expiration_duration_seconds": n}.'),
    ("header", "idempotency-key", "Submitting again with the same key finds the same request."),
)
_ERRORS = {
    "401": "There is no API key, or it is not known.",
    "404": "There is no such endpoint or request.",
    "422": "The input breaks rules; `detail` lists them.",
    "429": "A limit is reached, or the queue is full.",
    "503": "The service is out of reach for the moment.",
}


def openapi_routes() -> list[BaseRoute]:
    """The routes."""
    return [Route("/openapi.json", openapi, methods=["GET"])]


async def openapi(request: Request) -> Response:
    """The document; `endpoint_id` narrows it down to one endpoint."""
    endpoints: Sequence[Endpoint] = []
    if "authorization" in request.headers:
        endpoints = await client_of(request).endpoints()
    only = request.query_params.get("endpoint_id")
    return answer(document(origin_of(request), [found for found in endpoints if only in {None, found.endpoint}]))


def document(origin: str, endpoints: Sequence[Endpoint]) -> Schema:
    """The document of a gateway with these endpoints; of none, its paths name the endpoint by a parameter."""
    paths: dict[str, object] = {}
    schemas: dict[str, object] = {"Output": output_schema(), "Status": _status_schema(), "Error": _error_schema()}
    if not endpoints:
        schemas["Input"] = {"type": "object"}
        paths |= _endpoint_paths("{endpoint}", "Input", [_parameter("path", "endpoint", "Such as owner/app.")])
        paths |= _request_paths("{endpoint}", [_parameter("path", "endpoint", "Such as owner/app.")])
    for endpoint in endpoints:
        name = "".join(part.title() for part in endpoint.endpoint.replace("/", "-").split("-")) + "Input"
        schemas[name] = input_schema(endpoint)
        paths |= _endpoint_paths(endpoint.endpoint, name, [])
        paths |= _request_paths(app_of(endpoint.endpoint), [])
    return {
        "openapi": "3.1.0",
        "info": {"title": "CogReel gateway", "version": "1", "description": "The queue protocol of the fal clients."},
        "servers": [{"url": origin}],
        "security": [{"key": []}],
        "paths": paths | _storage_paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _endpoint_paths(endpoint: str, schema: str, parameters: list[Schema]) -> dict[str, object]:
    options = parameters + [_parameter(*option) for option in _SUBMISSION_OPTIONS]
    return {
        f"/{endpoint}": {"post": _operation("Queue a request", "Status", options, body=schema)},
        f"/run/{endpoint}": {"post": _operation("Make a video and wait for it", "Output", options, body=schema)},
    }


def _request_paths(app: str, parameters: list[Schema]) -> dict[str, object]:
    request = f"/{app}/requests/{{request_id}}"
    named = [*parameters, _REQUEST_ID]
    return {
        request: {"get": _operation("The result", "Output", named)},
        f"{request}/status": {"get": _operation("Where it stands", "Status", [*named, _LOGS], also=("202",))},
        f"{request}/status/stream": {"get": _operation("The same as events", None, [*named, _LOGS])},
        f"{request}/cancel": {"put": _operation("Cancel it", None, named, success="202")},
    }


def _storage_paths() -> dict[str, object]:
    described = {"content_type": {"type": "string"}, "file_name": {"type": "string"}}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": described}}}}
    initiate = _operation("Begin an upload: answers with upload_url, to PUT it to, and file_url", None, [])
    return {"/storage/upload/initiate": {"post": {**initiate, "requestBody": body}}}


def _operation(
    summary: str,
    schema: str | None,
    parameters: list[Schema],
    *,
    body: str | None = None,
    success: str = "200",
    also: tuple[str, ...] = (),
) -> Schema:
    answered: Schema = {"description": summary}
    if schema is not None:
        answered["content"] = _json(schema)
    responses: Schema = dict.fromkeys((success, *also), answered)
    responses |= {status: {"description": text, "content": _json("Error")} for status, text in _ERRORS.items()}
    operation: Schema = {"summary": summary, "parameters": parameters, "responses": responses}
    return operation | ({"requestBody": {"required": True, "content": _json(body)}} if body is not None else {})


def _parameter(place: str, name: str, description: str) -> Schema:
    schema = {"type": "string"}
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def _json(schema: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _status_schema() -> Schema:
    text: Schema = {"type": "string"}
    urls = dict.fromkeys(("request_id", "response_url", "status_url", "cancel_url"), text)
    properties: Schema = {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        **urls,
        "queue_position": {"type": "integer", "description": "How many requests are before it."},
        "logs": {"type": ["array", "null"], "items": {"type": "object"}},
        "metrics": {"type": "object"},
        "progress": {"type": ["object", "null"], "description": "Stage, step, total and eta in seconds."},
        "error": text,
        "error_type": text,
    }
    return {"type": "object", "properties": properties, "required": ["status", *urls]}


def _error_schema() -> Schema:
    entry = {"type": "object", "required": ["loc", "msg", "type"]}
    detail = {"anyOf": [{"type": "string"}, {"type": "array", "items": entry}]}
    return {"type": "object", "properties": {"detail": detail, "error_type": {"type": "string"}}}
