"""What NATS does not allow us, told to whoever waits for it.

A server answers what a user may not do with an error to the connection, beside all answers: who published a question
would wait for its answer until the time is over, and who subscribed would hear nothing, as if nothing happened.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobs.errors import NotAllowedError

# As the server says it, in the lower case to which the client library turns it.
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')


class Denials:
    """The denials that one connection got. `inbox_prefix` is where its answers arrive."""

    def __init__(self, inbox_prefix: str) -> None:
        self._inboxes = f"{inbox_prefix}."
        self._waiting: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)
        self._subscriptions: dict[str, NotAllowedError] = {}

    def note(self, error: str) -> bool:
        """Whether an error of the connection is a denial; whoever waits for what it is about is told."""
        violation = _VIOLATION.search(error)
        if violation is None:
            return False
        action, subject = violation.groups()
        if action == "subscription":
            self._subscriptions[subject] = self._no_subscription(subject)
        for scope in self._waiting.get(subject, ()):
            scope.reschedule(asyncio.get_running_loop().time())
        return True

    def forget(self) -> None:
        """Start anew with a new connection, on which other things may be allowed."""
        self._subscriptions.clear()

    def check(self) -> None:
        """Return if every subscription of which the server has heard so far is allowed.

        Raises:
            NotAllowedError: one is not.
        """
        for error in self._subscriptions.values():
            raise error

    @asynccontextmanager
    async def heeded(self, subject: str) -> AsyncIterator[None]:
        """Break off what waits in the block for an answer to a publish on `subject`, if that is denied.

        Raises:
            NotAllowedError: it was.
        """
        waiting = self._waiting[subject.lower()]
        scope = asyncio.timeout(None)
        try:
            async with scope:
                waiting.add(scope)
                yield
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise NotAllowedError(f"NATS does not allow this user to publish to {subject}") from error
        finally:
            waiting.discard(scope)
            if not waiting:
                self._waiting.pop(subject.lower(), None)

    def _no_subscription(self, subject: str) -> NotAllowedError:
        told = f"NATS does not allow this user to subscribe to {subject}"
        if subject.startswith(self._inboxes.lower()):
            told += ", where answers arrive: COGREEL_NATS_INBOX_PREFIX must be the prefix that the server allows"
        return NotAllowedError(told)
