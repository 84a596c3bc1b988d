"""`cogreeld up`: the embedded service with something to read on the terminal, until Ctrl-C."""

from __future__ import annotations

import asyncio
import time

import click

from host.embedded import EmbeddedOptions, Running, Say, embedded, settings_for
from host.settings import Settings
from host.signals import stop_event, until_stopped


async def up(options: EmbeddedOptions) -> None:
    """Run until SIGTERM or Ctrl-C; raises what `embedded` raises."""
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.1f} s] {text}", err=True)

    stopped = stop_event()
    await until_stopped(_run(options, settings_for(options), say, stopped), stopped)
    say("stopped")


async def _run(options: EmbeddedOptions, settings: Settings, say: Say, stopped: asyncio.Event) -> None:
    try:
        async with embedded(options, settings, say) as running:
            say(f"ready: {settings.devices}, endpoint {', '.join(settings.endpoints)}")
            click.echo(_welcome(running))
            try:
                await running.wait()
            finally:
                if stopped.is_set():
                    say("stopping")
    except BaseExceptionGroup as group:  # of the first thing that cannot be kept running
        raise group.exceptions[0] from None


def _trust(running: Running) -> str:
    """What tells each client to trust the development authority."""
    if running.authority is None:
        return ""
    return f"""
  trust    Python SSL_CERT_FILE={running.authority}
           Node   NODE_EXTRA_CA_CERTS={running.authority}
           curl   CURL_CA_BUNDLE={running.authority}"""


def _welcome(running: Running) -> str:
    metrics = "".join(f"\n  metrics  {url}" for url in running.metrics.values())
    return f"""
  gRPC     {running.grpc}
  HTTP     {running.http}{_trust(running)}
  API key  {running.api_key}
  data     {running.data_dir} (logs in logs/){metrics}

  export COGREEL_ADDRESS={running.grpc} COGREEL_API_KEY={running.api_key}
  cogreel generate "a garden full of butterflies" -o garden.mp4

Ctrl-C stops everything; what is queued goes on at the next start.
"""
