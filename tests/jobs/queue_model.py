"""What the queue should do, in a hundred lines without a broker, a clock or a second process.

The model of `test_model`: a dictionary of requests, and for each priority the line of messages that the broker would
hand out. Time is explicit: a pause is over, or a lease has run out, when somebody says `hand_out_again`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from cogreel.v1.queue_pb2 import PRIORITY_LOW, PRIORITY_NORMAL, Priority

from jobs.record_pb2 import State
from jobs.states import TERMINAL
from jobs.subjects import RequestKey

_IN_LINE = frozenset({State.STATE_QUEUED, State.STATE_RELEASED})


@dataclass(eq=False)
class ModelWorker:
    """A run of a worker process. One that is deaf works, and hears neither questions nor cancellations."""

    deaf: bool = False
    alive: bool = True


@dataclass(eq=False)
class ModelLease:
    """An attempt in somebody's hands, until it is put down; it may have been taken over long before."""

    request: ModelRequest
    worker: ModelWorker
    attempt: int
    held: bool = True

    @property
    def standing(self) -> bool:
        """Whether the attempt is still the one that counts."""
        return self.request.state == State.STATE_RUNNING and self.request.attempt == self.attempt

    def answers_mine(self, asked_by: ModelWorker | None) -> bool:
        """Whether its worker says that it has it; a worker need not ask itself."""
        return self.held and self.worker.alive and (not self.worker.deaf or self.worker is asked_by)


@dataclass(eq=False)
class ModelRequest:
    """A request; `number` counts submissions, `body` is what its caller sent, `output` its result's object.

    `last_failed` is the last attempt that used one up.
    """

    key: RequestKey
    body: str
    number: int
    priority: Priority.ValueType
    max_attempts: int
    state: State.ValueType = State.STATE_QUEUED
    attempt: int = 0
    failures: int = 0
    last_failed: int = 0
    output: str = ""
    erased: bool = False
    lease: ModelLease | None = None
    history: list[tuple[State.ValueType, int]] = field(default_factory=lambda: [(State.STATE_QUEUED, 0)])

    @property
    def ended(self) -> bool:
        """Whether it is in a terminal state."""
        return self.state in TERMINAL

    @property
    def on_last_attempt(self) -> bool:
        """Whether it runs and may not fail once more."""
        return self.lease is not None and self.failures + 1 >= self.max_attempts

    def count_failure(self) -> None:
        """The present attempt uses one up."""
        self.failures += 1
        self.last_failed = self.attempt

    def move_to(self, state: State.ValueType) -> None:
        """Change the state, which no terminal one ever allows."""
        assert not self.ended
        self.state = state
        self.history.append((state, self.attempt))


@dataclass
class _Line:
    """The messages of one priority: those never handed out, and those to be handed out again, which go first.

    Several to be handed out again go in the order in which they were given back, which the broker keeps, and which
    their positions do not show.
    """

    new: deque[ModelRequest] = field(default_factory=deque)
    again: deque[ModelRequest] = field(default_factory=deque)

    def pop(self) -> ModelRequest | None:
        source = self.again or self.new
        return source.popleft() if source else None


class QueueModel:
    """All requests that are not erased, by key in the order of their submission."""

    def __init__(self) -> None:
        self.requests: dict[RequestKey, ModelRequest] = {}
        self._submitted = 0
        self._lines = {PRIORITY_NORMAL: _Line(), PRIORITY_LOW: _Line()}

    def submit(self, key: RequestKey, body: str, priority: Priority.ValueType, max_attempts: int) -> ModelRequest:
        """A new request, last in its line."""
        self._submitted += 1
        request = ModelRequest(key, body, self._submitted, priority, max_attempts)
        self.requests[key] = request
        self._lines[priority].new.append(request)
        return request

    def position(self, request: ModelRequest) -> int | None:
        """Counted one by one: all who wait and go first, normal before low."""
        if request.state not in _IN_LINE:
            return None
        place = (request.priority == PRIORITY_LOW, request.number)
        waiting = (other for other in self.requests.values() if other.state in _IN_LINE)
        return sum((other.priority == PRIORITY_LOW, other.number) < place for other in waiting)

    def newest_first(self, tenant: str) -> list[ModelRequest]:
        """A tenant's requests as a list shows them."""
        own = (request for request in self.requests.values() if request.key.tenant == tenant)
        return sorted(own, key=lambda request: -request.number)

    def offers(self, worker: ModelWorker) -> bool:
        """Whether a free worker gets something at once."""
        waiting = (request for line in self._lines.values() for request in (*line.again, *line.new))
        for request in waiting:
            if request.erased or request.ended:
                continue
            if request.lease is None:
                return True
            if not request.lease.answers_mine(worker) and not request.on_last_attempt:
                return True
        return False

    def take(self, worker: ModelWorker) -> ModelLease | None:
        """What a free worker gets, after it has dealt with all that comes before; None if it would wait."""
        for line in self._lines.values():
            while (request := line.pop()) is not None:
                if request.erased or request.ended:
                    continue
                if request.lease is not None:
                    if request.lease.answers_mine(worker):
                        continue
                    if not self.lose_lease(request):
                        continue
                request.attempt += 1
                request.move_to(State.STATE_RUNNING)
                request.lease = ModelLease(request, worker, request.attempt)
                return request.lease
        return None

    @staticmethod
    def lose_lease(request: ModelRequest) -> bool:
        """The running attempt failed for want of its worker; whether another is left. The last one ends the request."""
        request.count_failure()
        request.lease = None
        if request.failures < request.max_attempts:
            return True
        request.move_to(State.STATE_FAILED)
        return False

    def look_after_holders(self) -> None:
        """A replica ends those whose last attempt is in no one's hands."""
        for request in self.requests.values():
            if request.on_last_attempt and request.lease is not None and not request.lease.answers_mine(None):
                self.lose_lease(request)

    def complete(self, lease: ModelLease, output: str) -> bool:
        """Give a result; False if the lease no longer counts."""
        return self._end_attempt(lease, State.STATE_COMPLETED, output=output)

    def fail(self, lease: ModelLease) -> bool:
        """End the request for good; False as above."""
        return self._end_attempt(lease, State.STATE_FAILED, failed=True)

    def release(self, lease: ModelLease, *, failed: bool) -> bool:
        """Hand the request back, for a drain or after a failure worth a retry; False as above."""
        last = failed and lease.request.failures + 1 >= lease.request.max_attempts
        return self._end_attempt(lease, State.STATE_FAILED if last else State.STATE_RELEASED, failed=failed)

    @staticmethod
    def _end_attempt(lease: ModelLease, state: State.ValueType, *, output: str = "", failed: bool = False) -> bool:
        if not lease.standing:
            return False
        request = lease.request
        if failed:
            request.count_failure()
        request.output = output
        request.lease = None
        request.move_to(state)
        return True

    def put_down(self, lease: ModelLease) -> None:
        """End the work on a lease. A request that was drained goes out again without a pause.

        Any other begins one, even where it was to go out again at once for another reason.
        """
        lease.held = False
        request = lease.request
        if request.state == State.STATE_RELEASED and request.last_failed != request.attempt:
            self.hand_out_again([request])
        elif not request.ended and request in self._lines[request.priority].again:
            self._lines[request.priority].again.remove(request)

    @staticmethod
    def cancel(request: ModelRequest) -> None:
        """The caller does not want it."""
        request.lease = None
        request.move_to(State.STATE_CANCELLED)

    def erase(self, request: ModelRequest) -> None:
        """Its time is up: nothing is known of it any more."""
        request.erased = True
        del self.requests[request.key]

    def hand_out_again(self, requests: Iterable[ModelRequest]) -> None:
        """A pause is over, a lease has run out, or the broker errs: their messages go out again, in this order."""
        for request in requests:
            line = self._lines[request.priority]
            if request not in line.new and request not in line.again:
                line.again.append(request)

    def forget_deliveries(self) -> None:
        """The broker hands out everything again that has not ended, in the order of submission."""
        for priority, line in self._lines.items():
            line.new.clear()
            line.again.clear()
            line.again.extend(
                request for request in self.requests.values() if request.priority == priority and not request.ended
            )
