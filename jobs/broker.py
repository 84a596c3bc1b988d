"""The connection to NATS and the few JetStream calls that the protocol is made of.

The JetStream API is spoken directly, by request and reply: outcomes are told by its numeric error codes, which the
client library folds into exceptions that lose them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from jobs.denials import Denials
from jobs.errors import BrokerUnavailableError, NotAllowedError
from jobs.metrics import QueueMetrics
from jobs.nats_tls import NatsTls, TlsContext
from jobs.tasks import end_task

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

REQUEST_TIMEOUT_S = 2.0
ABSENCE_LASTS_S = (
    1.5  # a leader's heartbeat, by which one that was replaced in its sleep learns of it, comes each second
)
ASK_AGAIN_S = 0.1
ELECTION_LASTS_S = 6.0  # 3 to 5 s without a leader were measured; reads wait for the next one, as writes do
CONNECT_WITHIN_S = 10.0  # the client library would try for ever, with a wrong password too
NO_MESSAGE_FOUND = 10037

UNREACHABLE = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.ConnectionDrainingError,
    nats.errors.StaleConnectionError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.NoServersError,
    ConnectionError,
)
"""What the client library raises when the broker does not answer."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach NATS.

    `url` holds one or more servers, comma-separated, with credentials. `name` is shown in the server's list of
    connections. `inbox_prefix` is where answers arrive: a server may keep the answers to one user from another by it.
    `replicas` is the number of copies that streams are kept in: 1 alone, 3 in a cluster. `max_queue_bytes` and
    `max_log_bytes` bound the streams; `log_age_s` is how long steps and lines are kept.
    """

    url: str = field(repr=False)
    name: str = "cogreel"
    tls: NatsTls = field(default_factory=NatsTls)
    inbox_prefix: str = "_INBOX"
    replicas: int = 1
    max_queue_bytes: int = 2 * 1024**3
    max_log_bytes: int = 2 * 1024**3
    log_age_s: float = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as a stream keeps it."""

    seq: int
    subject: str
    data: bytes


class ApiError(Exception):
    """JetStream refused a call; `code` is its `err_code`."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class Broker:
    """One connection, as an async context manager. It reconnects by itself for as long as it is open.

    Entering raises BrokerUnavailableError if no server lets it in within 10 s. `metrics` counts what is published.
    """

    def __init__(self, settings: BrokerSettings, metrics: QueueMetrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or QueueMetrics()
        self.nc: Client = Client()
        self.losses = 0
        """How often the connection was lost so far."""
        self._closing = False
        self._last_error = "no answer"
        self._denials = Denials(settings.inbox_prefix)

    async def __aenter__(self) -> Self:
        connecting = asyncio.create_task(self._connect(), name="connecting to NATS")
        async with AsyncExitStack() as unless_connected:
            # A client that got as far as a connection would otherwise make it anew for ever.
            unless_connected.push_async_callback(self._close)
            unless_connected.push_async_callback(end_task, connecting)
            await asyncio.wait({connecting}, timeout=CONNECT_WITHIN_S)
            if not connecting.done():
                raise BrokerUnavailableError(
                    f"cannot connect to NATS within {CONNECT_WITHIN_S:g} s: {self._last_error}"
                )
            connecting.result()
            unless_connected.pop_all()
        return self

    async def _connect(self) -> None:
        async def on_error(error: Exception) -> None:
            self._last_error = str(error) or type(error).__name__
            if self._denials.note(self._last_error):
                _log.error("broker.denied", error=self._last_error)
            else:
                _log.warning("broker.error", error=self._last_error)
                tls.read_again()

        async def on_disconnected() -> None:
            self.losses += 1
            self._denials.forget()
            tls.read_again()
            if not self._closing:
                self.metrics.disconnected()
                _log.warning("broker.disconnected")

        async def on_reconnected() -> None:
            _log.info("broker.reconnected")

        try:
            tls = TlsContext(self.settings.tls)
        except OSError as error:
            raise BrokerUnavailableError(f"cannot speak TLS to NATS: {error}") from error
        try:
            await self.nc.connect(
                servers=self.settings.url.split(","),
                name=self.settings.name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds that it sleeps: parts will do
                connect_timeout=2,
                allow_reconnect=True,
                ping_interval=5,
                max_outstanding_pings=2,
                tls=tls.ssl,
                tls_handshake_first=self.settings.tls.first,
                inbox_prefix=self.settings.inbox_prefix,
                error_cb=on_error,
                disconnected_cb=on_disconnected,
                reconnected_cb=on_reconnected,
            )
        except (*UNREACHABLE, OSError) as error:
            raise BrokerUnavailableError(f"cannot connect to NATS: {error}") from error
        except nats.errors.Error as error:
            if "url" not in str(error):
                raise
            # Without its cause, which quotes a piece of the URL: of a password with a slash in it, for instance.
            raise BrokerUnavailableError(
                "cannot connect to NATS: its address must have the form nats://user:password@host:port, "
                "and the password may hold none of / ? # [ ] @ ,"
            ) from None
        await self._check_inbox()

    async def _check_inbox(self) -> None:
        """Find out now that answers cannot arrive, if so: each would be waited for in vain."""
        subscription = await self.nc.subscribe(self.nc.new_inbox())
        await self.check_subscriptions()
        await subscription.unsubscribe()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._closing = True
        if not self.nc.is_closed:
            try:
                await self.nc.close()
            except ConnectionError as lost:  # the client writes out what is pending, even to a connection that is gone
                _log.info("broker.closed_while_disconnected", cause=str(lost))

    @property
    def connected(self) -> bool:
        """Whether the connection is up at this moment."""
        return bool(self.nc.is_connected)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Msg:
        """Ask and wait for one answer.

        Raises:
            NotAllowedError: the server does not let us.
            BrokerUnavailableError: no answer within `timeout_s`.
        """
        try:
            async with self._denials.heeded(subject):
                return await self.nc.request(
                    subject, payload, timeout=timeout_s, headers=dict(headers) if headers else None
                )
        except UNREACHABLE as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error

    async def api(
        self, call: str, body: Mapping[str, object], *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> dict[str, object]:
        """Call the JetStream API, such as `STREAM.INFO.REQ`.

        Raises:
            ApiError: the server refused.
            BrokerUnavailableError: no answer within `timeout_s`.
        """
        reply = await self.request(f"$JS.API.{call}", json.dumps(body).encode(), timeout_s=timeout_s)
        answer: dict[str, object] = json.loads(reply.data)
        error = answer.get("error")
        if isinstance(error, dict):
            if error.get("code") == 503:  # no leader at the moment
                raise BrokerUnavailableError(str(error.get("description", "")))
            raise ApiError(int(error.get("err_code", 0)), str(error.get("description", "")))
        return answer

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message on a subject (wildcards allowed), as the stream's leader has it; None if there is none."""
        return await self._message(stream, {"last_by_subj": subject})

    async def following(self, stream: str, seq: int, subject: str) -> Stored | None:
        """The first message at or after `seq` on a subject, as the stream's leader has it; None if there is none."""
        return await self._message(stream, {"seq": max(seq, 1), "next_by_subj": subject})

    async def confirmed_following(self, stream: str, seq: int, subject: str) -> Stored | None:
        """As `following`, for a message that there should be: with several replicas an absence must last.

        A leader that slept while another one was elected answers from what it knew, until it hears from its successor.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (ABSENCE_LASTS_S if self.settings.replicas > 1 else 0.0)
        while True:
            found = await self.following(stream, seq, subject)
            if found is not None or loop.time() >= deadline:
                return found
            await asyncio.sleep(ASK_AGAIN_S)

    async def through_election(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat what may be done twice, for as long as several replicas need to agree on a leader; one alone does not.

        Raises:
            BrokerUnavailableError: even then.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (ELECTION_LASTS_S if self.settings.replicas > 1 else 0.0)
        while True:
            try:
                return await call()
            except NotAllowedError:
                raise
            except BrokerUnavailableError:
                if loop.time() >= deadline or self.nc.is_closed:  # which it is by our own doing, and stays
                    raise
            await asyncio.sleep(ASK_AGAIN_S)

    async def _message(self, stream: str, body: Mapping[str, object]) -> Stored | None:
        try:
            answer = await self.through_election(lambda: self.api(f"STREAM.MSG.GET.{stream}", body))
        except ApiError as error:
            if error.code == NO_MESSAGE_FOUND:
                return None
            raise BrokerUnavailableError(str(error)) from error
        message = answer["message"]
        assert isinstance(message, dict)
        return Stored(
            seq=int(message["seq"]),
            subject=str(message["subject"]),
            data=base64.b64decode(message.get("data", "")),
        )

    async def batch(self, stream: str, seq: int, subject: str, *, limit: int = 256) -> list[Stored]:
        """Up to `limit` messages at or after `seq` on a subject, from whichever replica answers: it may lag."""
        return await self.through_election(lambda: self._batch(stream, seq, subject, limit))

    async def _batch(self, stream: str, seq: int, subject: str, limit: int) -> list[Stored]:
        inbox = self.nc.new_inbox()
        try:
            subscription = await self.nc.subscribe(inbox)
        except UNREACHABLE as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error
        found: list[Stored] = []
        body = {"seq": max(seq, 1), "next_by_subj": subject, "batch": limit}
        try:
            asked = f"$JS.API.DIRECT.GET.{stream}"
            await self.nc.publish(asked, json.dumps(body).encode(), reply=inbox)
            while True:
                async with self._denials.heeded(asked):
                    message = await subscription.next_msg(timeout=REQUEST_TIMEOUT_S)
                headers = message.headers or {}
                if "Nats-Sequence" not in headers:
                    if headers.get("Status") == "503":
                        raise BrokerUnavailableError(f"no replica of {stream} answers")
                    return found  # 204: end of the batch; 404: nothing from there on
                found.append(Stored(int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data))
        except UNREACHABLE as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def read(self, stream: str, seq: int, subject: str, *, anchor: int) -> list[Stored]:
        """All messages on a subject from `seq` up to and beyond `anchor`, complete even where replicas lag.

        A direct read may come from a follower that is behind. It is believed only once it has shown the anchor, a
        sequence that the leader named; what is missing then is asked of the leader.
        """
        found: list[Stored] = []
        while (at := found[-1].seq + 1 if found else seq) <= anchor:
            page = await self.batch(stream, at, subject)
            if not page:
                one = await self.confirmed_following(stream, at, subject)
                if one is None:
                    break
                page = [one]
            found.extend(page)
        return found

    def heeding_denials(self, subject: str) -> AbstractAsyncContextManager[None]:
        """For calls past `request`: break off in the block if the server denies a publish on `subject`.

        Raises:
            NotAllowedError: it did.
        """
        return self._denials.heeded(subject)

    async def check_subscriptions(self) -> None:
        """Return if everything that was subscribed to so far is allowed, which would otherwise stay silent for ever.

        Raises:
            NotAllowedError: something is not.
            BrokerUnavailableError: the server does not answer.
        """
        await self.flush()
        self._denials.check()

    async def flush(self) -> None:
        """Wait until what was published and subscribed to has reached the server."""
        try:
            # The client library's ping overtakes what waits to be sent; a second one is behind all of it.
            for _ in range(2):
                await self.nc.flush(timeout=int(REQUEST_TIMEOUT_S))
        except (TimeoutError, *UNREACHABLE) as error:
            raise BrokerUnavailableError(str(error)) from error
