"""Which installation an operator's command is about: that of the environment, or a running `cogreeld up`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr

from host.engines.s3 import stored_credentials
from host.settings import Settings, read_settings


def settings_of(ready_file: Path | None) -> Settings:
    """The settings by which to reach NATS and S3.

    Raises:
        ValueError: a variable of the environment cannot be read, or the file is not a ready file.
        OSError: the ready file cannot be read.
    """
    settings = read_settings()
    if ready_file is None:
        return settings
    try:
        ready = json.loads(ready_file.read_text(encoding="utf-8"))
        nats_url, s3_url, data_dir = str(ready["nats"]), str(ready["s3"]), Path(ready["data_dir"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{ready_file} is not the ready file of a `cogreeld up`; that is what its --ready-file names"
        ) from error
    access_key, secret_key = stored_credentials(data_dir)
    return settings.model_copy(
        update={
            "nats_url": SecretStr(nats_url),
            "s3_endpoint": s3_url.removeprefix("http://"),
            "s3_access_key": access_key,
            "s3_secret_key": SecretStr(secret_key),
            "s3_secure": False,
        }
    )
