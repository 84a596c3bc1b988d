"""The way of an operator's command to NATS: that of the settings, or that of a running `cogreeld up`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr

from host.settings import read_settings
from jobs.broker import Broker


def operator_broker(role: str, ready_file: Path | None) -> Broker:
    """A connection to be entered; `role` is shown in the server's list of connections.

    Raises:
        SettingsError: a setting cannot be read.
        ValueError: the ready file is none.
    """
    settings = read_settings()
    if ready_file is not None:
        try:
            url = json.loads(ready_file.read_text(encoding="utf-8"))["nats"]
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{ready_file} is not the ready file of a `cogreeld up`") from error
        settings = settings.model_copy(update={"nats_url": SecretStr(url)})
    return Broker(settings.broker(role))
