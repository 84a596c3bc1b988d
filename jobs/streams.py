"""The streams, consumers and buckets that the application keeps in JetStream: the service makes them at its start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL

from jobs.broker import ApiError, Broker
from jobs.subjects import (
    KEYS_BUCKET,
    LIVE,
    LOG,
    PAUSES_BUCKET,
    REQ,
    WEBHOOK_KEYS_BUCKET,
    WEBHOOKS_CONSUMER,
    consumer_name,
    ended_filters,
    queued_filter,
)

ACK_WAIT_S = 30.0
MOST_WEBHOOKS_UNDER_WAY = 100_000  # those that wait for their next try count too; beyond it, new ones wait
_SET_UP_WITHIN_S = 10.0
NAME_IN_USE = 10058  # the stream exists with another configuration
_NS = 1_000_000_000


async def ensure_streams(broker: Broker, *, update: bool = False) -> None:
    """Create REQ, LOG and the buckets of API keys, of pauses and of webhook keys where they are missing.

    With `update`, which is the service's part alone, bring the configuration of those that exist up to date: whoever
    else did it would undo the operator's settings with its own.

    REQ has no age limit and no per-message lifetime: a terminal state that expired would bring its request back to
    life. Every message is republished under `live.`, which is what tails listen to.

    Raises:
        BrokerUnavailableError: JetStream does not answer.
        ApiError: JetStream refuses the configuration.
    """
    settings = broker.settings
    await _ensure(
        broker,
        _shared(broker)
        | {
            "name": REQ,
            "subjects": ["req.>"],
            "discard": "new",
            "max_age": 0,
            "max_bytes": settings.max_queue_bytes,
            "republish": {"src": "req.>", "dest": f"{LIVE}req.>"},
        },
        update=update,
    )
    await _ensure(
        broker,
        _shared(broker)
        | {
            "name": LOG,
            "subjects": ["log.>"],
            "discard": "old",
            "max_age": int(settings.log_age_s * _NS),
            "max_bytes": settings.max_log_bytes,
            "republish": {"src": "log.>", "dest": f"{LIVE}log.>"},
        },
        update=update,
    )
    await ensure_keys_bucket(broker, update=update)
    await ensure_pauses_bucket(broker, update=update)
    await ensure_webhook_keys_bucket(broker, update=update)


async def ensure_keys_bucket(broker: Broker, *, update: bool = False) -> None:
    """Create the bucket of API keys where it is missing; see `ensure_streams`."""
    await _ensure_bucket(broker, KEYS_BUCKET, update=update)


async def ensure_pauses_bucket(broker: Broker, *, update: bool = False) -> None:
    """Create the bucket of pauses where it is missing; see `ensure_streams`."""
    await _ensure_bucket(broker, PAUSES_BUCKET, update=update)


async def ensure_webhook_keys_bucket(broker: Broker, *, update: bool = False) -> None:
    """Create the bucket of the keys that webhooks are signed by where it is missing; see `ensure_streams`."""
    await _ensure_bucket(broker, WEBHOOK_KEYS_BUCKET, update=update, republished=False)  # no copies of private keys


async def _ensure_bucket(broker: Broker, bucket: str, *, update: bool, republished: bool = True) -> None:
    config = _shared(broker) | {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "discard": "new",
        "max_age": 0,
        "max_bytes": 64 * 1024**2,
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    if republished:
        config["republish"] = {"src": f"$KV.{bucket}.>", "dest": f"{LIVE}{bucket}.>"}
    await _ensure(broker, config, update=update)


def _shared(broker: Broker) -> dict[str, object]:
    return {
        "storage": "file",
        "num_replicas": broker.settings.replicas,
        "allow_direct": True,
        "retention": "limits",
        "max_msgs": -1,
        "max_consumers": -1,
    }


async def _ensure(broker: Broker, config: dict[str, object], *, update: bool) -> None:
    name = config["name"]
    try:
        await _set_up(broker, f"STREAM.CREATE.{name}", config)
    except ApiError as error:
        if error.code != NAME_IN_USE:
            raise
        if update:
            await _set_up(broker, f"STREAM.UPDATE.{name}", config)


async def _set_up(broker: Broker, call: str, body: dict[str, object]) -> None:
    """Create or update, which may be done twice: a process that starts during an election waits for its end."""
    await broker.through_election(lambda: broker.api(call, body, timeout_s=_SET_UP_WITHIN_S))


async def ensure_consumers(broker: Broker, endpoints: Iterable[str]) -> None:
    """Create the durable pull consumers of each endpoint, one for each priority, straight on REQ.

    Raises:
        BrokerUnavailableError: JetStream does not answer.
        ApiError: JetStream refuses the configuration.
    """
    for endpoint in endpoints:
        for priority in (PRIORITY_NORMAL, PRIORITY_LOW):
            name = consumer_name(endpoint, priority)
            subject = queued_filter(endpoint, priority)
            config = {
                "durable_name": name,
                "name": name,
                "filter_subject": subject,
                "ack_policy": "explicit",
                "ack_wait": int(ACK_WAIT_S * _NS),
                "max_ack_pending": -1,  # the default of 1,000 would stop a long queue
                "max_deliver": -1,
                "deliver_policy": "all",
                "replay_policy": "instant",
            }
            await _set_up(broker, f"CONSUMER.CREATE.{REQ}.{name}.{subject}", {"stream_name": REQ, "config": config})


async def ensure_webhooks_consumer(broker: Broker) -> None:
    """Create the durable pull consumer of terminal states, which all replicas of the service share.

    Raises:
        BrokerUnavailableError: JetStream does not answer.
        ApiError: JetStream refuses the configuration.
    """
    config = {
        "durable_name": WEBHOOKS_CONSUMER,
        "name": WEBHOOKS_CONSUMER,
        "filter_subjects": ended_filters(),
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT_S * _NS),
        "max_ack_pending": MOST_WEBHOOKS_UNDER_WAY,
        "max_deliver": -1,
        "deliver_policy": "all",
        "replay_policy": "instant",
    }
    await _set_up(broker, f"CONSUMER.CREATE.{REQ}.{WEBHOOKS_CONSUMER}", {"stream_name": REQ, "config": config})


async def stream_state(broker: Broker, stream: str) -> tuple[int, int, str]:
    """The stream's last sequence, its size in bytes, and when it was created (text, as the server writes it).

    Raises:
        BrokerUnavailableError: JetStream does not answer.
    """
    answer = await broker.api(f"STREAM.INFO.{stream}", {})
    state = cast("dict[str, int]", answer["state"])
    return state["last_seq"], state["bytes"], str(answer["created"])
