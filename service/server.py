"""The gRPC server of one replica, put together from its parts, with the limits that it was measured to need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import structlog
from cogreel.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    catalog_pb2,
    catalog_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
)
from cogreel.v1.admin_pb2 import ModelCard
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from files import ObjectStore
from files.fetch_guard import FetchSettings
from jobs.admission import Admission
from jobs.broker import Broker
from jobs.keys import KeyDirectory
from jobs.promotion import Promoter
from jobs.queue import Queue
from jobs.streams import ensure_consumers, ensure_streams, ensure_webhooks_consumer
from jobs.view import LiveView
from jobs.webhook_keys import WebhookKeys, ensure_keyring
from service.admin_servicer import AdminServicer
from service.catalog_servicer import CatalogServicer
from service.input_files import InputFiles
from service.interceptor import CallInterceptor
from service.metrics import ServiceMetrics
from service.pins import Pins
from service.plain_port import health_served
from service.presentation import presigned_outputs
from service.queue_servicer import QueueServicer, QueueServiceSettings
from service.scaler import scaler_served
from service.server_tls import ServerTls, server_credentials
from service.storage_servicer import StorageServicer
from service.stored_bytes import StoredBytes
from service.sweeper import Sweeper, SweeperSettings
from service.upload_rules import UploadSettings
from service.upload_sweeper import UploadSweeper, UploadSweeperSettings
from service.webhook_receivers import Receivers
from service.webhooks import WebhookSender, WebhookSettings

MAX_RECEIVE_BYTES = 32 * 1024**2  # so that a data URI of 24 MiB fits
QUEUE_SERVICE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"].full_name
HEALTH_EVERY_S = 0.5

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", MAX_RECEIVE_BYTES),
    # At the defaults a burst of more than 1,000 calls not yet accepted fails with CANCELLED.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # a minute by default, and it overrides the line above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`address` is host:port to listen on, port 0 for any free one; `scaler_address` that for KEDA, and
    `health_address` that for probes, which speak no TLS, empty for nowhere. Without `tls`, calls are not encrypted.

    `grace_s` is how long calls may take to finish when the server stops; `max_concurrent_calls` bounds the load, and
    `max_waiting` the requests in the queue.
    """

    address: str = "127.0.0.1:50051"
    scaler_address: str = ""
    health_address: str = ""
    tls: ServerTls | None = None
    grace_s: float = 5.0
    max_concurrent_calls: int = 20_000
    max_waiting: int = 100_000
    queue: QueueServiceSettings = field(default_factory=QueueServiceSettings)
    sweeper: SweeperSettings = field(default_factory=SweeperSettings)
    uploads: UploadSettings = field(default_factory=UploadSettings)
    fetching: FetchSettings = field(default_factory=FetchSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


@asynccontextmanager
async def serving(
    settings: ServerSettings,
    broker: Broker,
    store: ObjectStore,
    cards: Mapping[str, ModelCard],
    *,
    metrics: ServiceMetrics | None = None,
    on_lost: Callable[[], None] = lambda: None,
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. Leaving ends all watches, so that their callers go elsewhere.

    `metrics` are filled with what happens; left out, with what nobody reads. `on_lost` is called, perhaps again and
    again, once a stream can be followed no more, as when it was made anew: this replica must start again.

    Raises:
        BrokerUnavailableError: the streams cannot be set up, or NATS does not allow what this takes.
        OSError: the address cannot be listened on.
        CertificateError: the certificate cannot be used.
    """
    await _set_up(broker, cards)
    metrics = metrics or ServiceMetrics()
    broker.metrics.expect(cards)
    async with AsyncExitStack() as stack:
        directory = await stack.enter_async_context(KeyDirectory(broker))
        view = LiveView(broker)
        await stack.enter_async_context(metrics.observing(view, store, cards))
        await stack.enter_async_context(Sweeper(settings.sweeper, broker, view, store))
        await stack.enter_async_context(Promoter(broker, view, directory.tenant_limits))
        pins = Pins(view)
        await stack.enter_async_context(view)
        admission = Admission(view, directory.tenant_limits, max_waiting=settings.max_waiting)
        await stack.enter_async_context(scaler_served(settings.scaler_address, broker, view, cards))
        expiry = UploadSweeperSettings(lifetime_s=settings.uploads.lifetime_s)
        await stack.enter_async_context(UploadSweeper(expiry, broker, view, store, pins))
        server = grpc.aio.server(
            options=_OPTIONS,
            interceptors=[CallInterceptor(directory, metrics)],
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
        )
        inputs = InputFiles(store, settings.uploads, settings.fetching, pins)
        receivers = Receivers(settings.fetching, timeout_s=settings.webhooks.timeout_s)
        output_of = presigned_outputs(store, validity_s=settings.queue.url_validity_s)
        webhooks = WebhookSender(
            settings.webhooks, broker, receivers, output_of, metrics=metrics, grace_s=settings.grace_s
        )
        await stack.enter_async_context(webhooks)
        queue = Queue(broker, view, cards, admission)
        queue_servicer = QueueServicer(
            queue,
            view,
            store=store,
            inputs=inputs,
            receivers=receivers,
            webhook_keys=WebhookKeys(broker),
            settings=settings.queue,
        )
        queue_pb2_grpc.add_QueueServiceServicer_to_server(queue_servicer, server)
        storage_pb2_grpc.add_StorageServiceServicer_to_server(
            StorageServicer(store, settings.uploads, StoredBytes(store, directory.tenant_limits)), server
        )
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminServicer(broker, view, store, cards), server)
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogServicer(view, cards), server)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        described = [
            descriptor.full_name
            for module in (queue_pb2, storage_pb2, catalog_pb2, admin_pb2, health_pb2)
            for descriptor in module.DESCRIPTOR.services_by_name.values()
        ]
        reflection.enable_server_reflection((*described, reflection.SERVICE_NAME), server)
        await stack.enter_async_context(health_served(settings.health_address, checks))
        await broker.check_subscriptions()
        port = _listen(server, settings)
        await server.start()
        reporter = asyncio.create_task(_report_health(checks, view, directory, on_lost), name="health")
        _log.info("service.listening", address=settings.address, port=port, tls=settings.tls is not None)
        try:
            yield port
        finally:
            reporter.cancel()
            await checks.enter_graceful_shutdown()
            view.close()
            await server.stop(settings.grace_s)


async def _set_up(broker: Broker, cards: Mapping[str, ModelCard]) -> None:
    await ensure_streams(broker, update=True)
    await ensure_consumers(broker, cards)
    await ensure_webhooks_consumer(broker)
    await ensure_keyring(broker)


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    try:
        if settings.tls is not None:
            return server.add_secure_port(settings.address, server_credentials(settings.tls))
        return server.add_insecure_port(settings.address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {settings.address}: {error}") from error


async def _report_health(
    checks: health.aio.HealthServicer, view: LiveView, directory: KeyDirectory, on_lost: Callable[[], None]
) -> None:
    """Keep the health of the process and of the queue current: healthy is who sees everything."""
    serving_status = health_pb2.HealthCheckResponse.SERVING
    not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
    while True:
        await checks.set("", serving_status)
        await checks.set(QUEUE_SERVICE, serving_status if view.caught_up and directory.caught_up else not_serving)
        if view.ended or directory.ended:
            on_lost()
        await asyncio.sleep(HEALTH_EVERY_S)
