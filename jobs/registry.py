"""Which workers there are: those that answer when all are asked. Nobody keeps a list, so none can be out of date."""

from __future__ import annotations

import asyncio

import nats.errors
from cogreel.v1.admin_pb2 import Worker
from nats.aio.subscription import Subscription

from jobs.broker import UNREACHABLE, ApiError, Broker
from jobs.errors import BrokerUnavailableError
from jobs.record_pb2 import Control, ControlReply, Describe
from jobs.subjects import PING, control_inbox

SILENCE_S = 0.25  # after an answer; a loop that is held up by the device's thread answers within some 10 ms
ANSWER_WITHIN_S = 1.0  # all of them; the first may take as long, since NATS says at once where nobody listens
_NO_RESPONDERS = "503"


async def list_workers(broker: Broker) -> list[Worker]:
    """What the running workers say of themselves, by name. Takes 0.25 to 1 s where there are any.

    A process that does not answer, since it is stopped or has lost its connection, is not among them.

    Raises:
        BrokerUnavailableError: the broker does not answer.
    """
    try:
        subscription = await broker.nc.subscribe(inbox := control_inbox(broker.settings.inbox_prefix))
        try:
            await broker.nc.publish(PING, Control(describe=Describe()).SerializeToString(), reply=inbox)
            # Else a broker that is away would look like one without workers. No flush: one that is late costs the
            # client library its connection.
            await broker.api("INFO", {})
            found = await _answers(subscription)
        finally:
            if not broker.nc.is_closed:
                await subscription.unsubscribe()
    except (ApiError, *UNREACHABLE) as error:
        raise BrokerUnavailableError(str(error) or type(error).__name__) from error
    return sorted(found.values(), key=lambda worker: (worker.name, worker.incarnation))


async def _answers(subscription: Subscription) -> dict[str, Worker]:
    """The answers by incarnation, until nothing more comes."""
    found: dict[str, Worker] = {}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_WITHIN_S
    while (left_s := deadline - loop.time()) > 0:
        try:
            message = await subscription.next_msg(timeout=min(left_s, SILENCE_S) if found else left_s)
        except nats.errors.TimeoutError:
            break
        if (message.headers or {}).get("Status") == _NO_RESPONDERS:
            break
        worker = ControlReply.FromString(message.data).worker
        found[worker.incarnation] = worker
    return found
