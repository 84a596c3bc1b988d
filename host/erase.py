"""What `cogreeld erase` does: the deletion of a request straight in NATS and S3, where no service need run."""

from __future__ import annotations

from files import ObjectStore
from host.settings import Settings
from jobs.broker import Broker
from jobs.errors import RequestNotFoundError
from jobs.publisher import confirmed_state
from jobs.states import public_name
from jobs.subjects import RequestKey
from service.erasing import delete_request


async def describe(settings: Settings, key: RequestKey) -> str:
    """A request in a line, for whoever is asked whether it may go. The store is tried as well, while nothing is lost.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        BrokerUnavailableError, StoreUnavailableError: an engine does not answer.
        ValueError: the store has no such bucket.
    """
    try:
        await ObjectStore(settings.store()).check()
    except LookupError as error:
        raise ValueError(f"the store has no bucket {settings.s3_bucket}; COGREEL_S3_BUCKET names it") from error
    async with Broker(settings.broker("erase")) as broker:
        found = await confirmed_state(broker, key)
    if found is None:
        raise RequestNotFoundError(key.request_id)
    record = found[1]
    accepted = record.queued_time.ToJsonString()
    return f"{key.request_id} of {key.tenant}: {public_name(record.state)}, {record.endpoint}, accepted {accepted}"


async def erase(settings: Settings, key: RequestKey) -> None:
    """Erase a request.

    Raises:
        RequestNotFoundError: the tenant has no such request.
        BrokerUnavailableError, StoreUnavailableError: an engine does not answer.
    """
    async with Broker(settings.broker("erase")) as broker:
        await delete_request(broker, ObjectStore(settings.store()), key)
