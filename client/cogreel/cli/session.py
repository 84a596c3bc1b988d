"""What all commands share: the connection that the options of `cogreel` describe."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import click

import cogreel

_NOTE_INTERVAL_S = 5.0
# Tries of one outage come closer than this.
_NEW_OUTAGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Session:
    """The options of `cogreel` itself."""

    address: str
    api_key: str | None = field(repr=False)
    ca_file: str | None
    client_certificate_file: str | None
    client_key_file: str | None
    retry_timeout_s: float

    def connect(self, note: Callable[[str], None] | None = None) -> cogreel.CogReel:
        """A client for these options. `note` is told while the service is out of reach; by default, on stderr.

        Raises:
            click.UsageError: an option makes no sense.
        """
        # gRPC's own notices on stderr would tear the live view; its errors reach us as exceptions.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            return cogreel.CogReel(
                self.address,
                self.api_key,
                ca_file=self.ca_file,
                client_certificate_file=self.client_certificate_file,
                client_key_file=self.client_key_file,
                retry_timeout_s=self.retry_timeout_s,
                on_retry=_OutageNotes(note or partial(click.echo, err=True)),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error


class _OutageNotes:
    """Tells of an outage when it begins and when its reason changes, and at growing intervals that it lasts."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._reason: str | None = None
        self._last = -_NEW_OUTAGE_S
        self._began = self._next = 0.0

    def __call__(self, error: cogreel.CogReelError, _pause_s: float) -> None:
        now = time.monotonic()
        is_another = now - self._last >= _NEW_OUTAGE_S
        self._last = now
        if is_another or error.reason != self._reason:
            self._began = now if is_another else self._began
            self._reason = error.reason
            self._next = now + _NOTE_INTERVAL_S
            self._note(f"the service is out of reach, trying on: {error.message}")
        elif now >= self._next:
            self._next = now + (now - self._began)
            self._note(f"still out of reach after {now - self._began:.0f} s, trying on")


pass_session = click.make_pass_decorator(Session)
