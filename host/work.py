"""The worker process of a machine: a supervisor and one process for each device."""

from __future__ import annotations

from host.devices import ensure_devices
from host.health import workers_health
from host.metrics import Address, pool_metrics
from host.settings import Settings
from host.signals import stop_event, until_stopped
from host.worker_pool import WorkerPool
from jobs.broker import Broker


async def work(settings: Settings) -> None:
    """Keep the workers running until SIGTERM or Ctrl-C, then drain them.

    Raises:
        DevicesError: a device is misnamed, or not there.
        BrokerUnavailableError: NATS cannot be reached.
        ChildFailedError: a worker cannot start.
    """
    await ensure_devices(settings)
    await until_stopped(_work(settings), stop_event())


async def _work(settings: Settings) -> None:
    with pool_metrics(Address.parse(settings.metrics_listen)) as metrics:
        async with Broker(settings.broker("supervisor")) as broker:
            pool = WorkerPool(settings, broker, metrics=metrics)
            async with workers_health(settings.health_listen, lambda: pool.ready), pool:
                await pool.wait()
