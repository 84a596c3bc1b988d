"""A collector of traces: a real server of the OTLP protocol that remembers every span."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Seen:
    """A span with the name of the service that sent it."""

    service: str
    span: trace_pb2.Span

    @property
    def attributes(self) -> dict[str, str | int | bool]:
        """Its attributes, as plain values."""
        return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in self.span.attributes}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives on loopback for the length of the block."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.metadata: list[tuple[str, str]] = []
        self.endpoint = ""
        self._server = grpc.aio.server()

    async def Export(  # noqa: N802 - the protocol's name
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.aio.ServicerContext[
            trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse
        ],
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Remember what was sent."""
        self.metadata += [(name, str(value)) for name, value in context.invocation_metadata() or ()]
        for group in request.resource_spans:
            service = next(a.value.string_value for a in group.resource.attributes if a.key == "service.name")
            self.spans += [Seen(service, span) for scope in group.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Seen]:
        """The spans of a name, in the order of their beginning."""
        found = [seen for seen in self.spans if seen.span.name == name]
        return sorted(found, key=lambda seen: seen.span.start_time_unix_nano)

    async def __aenter__(self) -> Self:
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"http://127.0.0.1:{port}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(0)
