"""The command `cogreel` in the tests' own process, against a scripted service."""

from __future__ import annotations

from click.testing import CliRunner, Result
from cogreel.cli import main

from tests.client.scripted_service import ScriptedService


def run(service: ScriptedService, *arguments: str, timeout_s: str = "5") -> Result:
    """The command, with the service's address."""
    options = ["--address", service.address, "--api-key", "key", "--retry-timeout", timeout_s]
    return CliRunner().invoke(main, [*options, *arguments])
