"""When to try again, and how long to wait before: decisions only, no I/O and no sleeping."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from cogreel.errors import CogReelError

# UNAVAILABLE: the service or the way to it is down. CANCELLED, where the caller did not cancel: a server that is
# flooded with calls refuses the newest in this way. Both are safe to repeat: reads change nothing, cancelling twice
# succeeds twice, and every submission carries an idempotency key.
_RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


OnRetry = Callable[[CogReelError, float], None]
"""Told of an error and of the pause in seconds before the next try."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient the client is."""

    timeout_s: float = 60.0
    """Total time for one call with its retries; for a watch, time without any message from the service."""

    first_delay_s: float = 0.1
    """Upper end of the first wait. Each further one doubles."""

    max_delay_s: float = 5.0
    """No wait is longer, unless the service asks for more."""

    on_retry: OnRetry | None = None
    """Called before each wait, for programs that show or count them."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ValueError(f"the retry timeout must be above 0 seconds, not {self.timeout_s}")


class Retrying:
    """The retries of one call, or of one interruption of a watch: opens its time window when it is made."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._uniform = uniform
        self._deadline = clock() + policy.timeout_s
        self._tries = 0

    @property
    def remaining_s(self) -> float:
        """What is left of the window, in seconds: the deadline for the next try."""
        return max(self._deadline - self._clock(), 0.0)

    def delay_after(self, error: CogReelError) -> float:
        """Seconds to wait before the next try; at least what the service asked for.

        Raises:
            CogReelError: `error` itself, where a retry would be wrong or would not fit into the window.
        """
        if error.code not in _RETRYABLE:
            raise error
        ceiling = min(self._policy.first_delay_s * 2**self._tries, self._policy.max_delay_s)
        # Half fixed, half random: callers that failed together do not come back together.
        delay = self._uniform(ceiling / 2, ceiling)
        if error.retry_after is not None:
            delay += error.retry_after.total_seconds()
        if delay >= self.remaining_s:
            raise error
        self._tries += 1
        if self._policy.on_retry is not None:
            self._policy.on_retry(error, delay)
        return delay
